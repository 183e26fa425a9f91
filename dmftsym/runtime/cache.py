"""Generated modules on disk: one folder a content hash, written once, so that compiled code is found again."""

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType


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


def load_module(name: str, text: str) -> ModuleType:
    """Import generated source from the cache; the same text is the same file, with its compiled code beside it."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = cache_folder() / digest / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
    unique = f"dmftsym_generated_{name}_{digest}"
    if unique in sys.modules:
        return sys.modules[unique]
    spec = importlib.util.spec_from_file_location(unique, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    spec.loader.exec_module(module)
    return module
