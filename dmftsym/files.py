"""Files on disk: the cache folder, and writing so that nobody ever sees half a file."""

import os
import tempfile
from functools import lru_cache
from pathlib import Path


def cache_folder() -> Path:
    """Where generated code lives: $DMFTSYM_CACHE, else the user's cache folder, else a temporary one."""
    wanted = os.environ.get("DMFTSYM_CACHE")
    folder = Path(wanted) if wanted else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dmftsym"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK) else _temporary_folder()


@lru_cache(maxsize=1)
def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="dmftsym-"))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the target and rename: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
