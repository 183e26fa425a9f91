"""Files on disk: the cache folder, and writing so that nobody ever sees half a file."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Where generated code lives: $DMFTSYM_CACHE, else the user's cache folder, else a temporary one."""
    wanted = os.environ.get("DMFTSYM_CACHE")
    folder = Path(wanted) if wanted else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dmftsym"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except OSError:
        return Path(tempfile.gettempdir()) / f"dmftsym-{os.getuid()}"


def write_atomically(path: Path, text: str) -> None:
    """Write beside the target and rename: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
