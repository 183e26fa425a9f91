"""Files on disk: writing so that nobody ever sees half a file, and the cache folder."""

import errno
import itertools
import os
import platform
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from dmftsym.errors import DmftsymError, one_line

# What tells that a folder takes no more files: the disk is full, the quota used up, it is read-only, or not ours.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)
OLD = 7 * 86400  # seconds after which a temporary file of another machine counts as left behind
_numbers = itertools.count()


def notice(message: str) -> None:
    """One line for the user about something that does not stop the program."""
    print(f"dmftsym: {one_line(message)}", file=sys.stderr)


# --- writing ------------------------------------------------------------------------------------------------------


def target_of(path: Path) -> Path:
    """The file that is written when `path` is: the target of a link. Raises `OSError` with the reason if none can be.

    Only regular files are replaced: a device or a pipe would be lost. Tries to make a file beside it.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.lstat().st_mode if os.path.lexists(target) else None
    except ValueError as error:  # a null character in the name
        raise OSError(str(error)) from None
    if len(os.fsencode(target.name)) > 255:
        raise OSError(f"the name has {len(target.name)} letters")
    if mode is not None and stat.S_ISDIR(mode):
        raise OSError("it is a folder")
    if mode is not None and stat.S_ISLNK(mode):
        raise OSError("its links lead in a circle")
    if mode is not None and not stat.S_ISREG(mode):
        raise OSError("it is not a regular file but a device, a pipe or a socket")
    if mode is not None and not os.access(target, os.W_OK):
        raise OSError("the file is read-only")
    if not target.parent.is_dir():
        raise OSError(f"there is no folder {path.parent}")
    temporary = _temporary(target.parent)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    temporary.unlink()
    return target


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the name of `path` if all goes well; it keeps the mode of a file that it replaces.

    What runs that were killed have left in the folder is swept away. Raises `OSError` where `target_of` does.
    """
    target = target_of(path)
    sweep(target.parent)
    temporary = _temporary(target.parent)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the target and rename: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _temporary(folder: Path) -> Path:
    return folder / f".dmftsym-{_machine()}-{os.getpid()}-{next(_numbers)}.tmp"


def sweep(folder: Path) -> None:
    """Remove temporary files of programs that are gone; those of other machines when they are old."""
    for path in sorted(folder.glob(".dmftsym-*-*-*.tmp")):
        _, machine, process, _ = path.name.split("-", 3)
        try:
            old = time.time() - path.lstat().st_mtime > OLD
            if old or (machine == _machine() and not _runs(int(process))):
                path.unlink(missing_ok=True)
        except (OSError, ValueError):  # somebody else's
            continue


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


# --- the cache ----------------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """Where generated code lives: $DMFTSYM_CACHE, else the user's cache folder; None if it cannot be written.

    Raises `DmftsymError` if others could have put code there.
    """
    wanted = os.environ.get("DMFTSYM_CACHE")
    folder = Path(wanted) if wanted else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dmftsym"
    try:
        private_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it is read-only")
    except OSError as error:
        without_cache(str(folder), error.strerror or str(error))
        return None
    return folder


def private_folder(folder: Path) -> None:
    """Make a folder that only the user can enter, or check that nobody else can write to it, as ssh does.

    Code in it is run. Raises `DmftsymError` if others could have put some there, `OSError` if it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "geteuid"):
        return
    known = folder.stat()
    if known.st_uid != os.geteuid():
        raise DmftsymError(f"the cache {folder} belongs to another user, whose code is not run; set DMFTSYM_CACHE")
    if known.st_mode & 0o022:
        raise DmftsymError(
            f"the cache {folder} can be written by others (mode {known.st_mode & 0o777:o}), its code is not run; "
            f"remove it or set DMFTSYM_CACHE to a folder with mode 700"
        )


@lru_cache(maxsize=8)
def without_cache(folder: str, reason: str) -> None:
    """Say once that there is no cache."""
    notice(f"the cache {folder} cannot be written ({reason}): code is compiled anew in every run")
