"""Generated modules on disk: one folder a content hash, written once, so that compiled code is found again."""

import hashlib
import importlib.util
import linecache
import pickletools
import struct
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

from dmftsym.files import cache_folder, notice, private_folder, without_cache, write_atomically


class _Source(SourceFileLoader):
    """Runs the text that it was given: neither a file nor compiled code that lies beside it."""

    def __init__(self, name: str, path: str, text: str):
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname):
        """The compiled text."""
        return self.source_to_code(self.text.encode(), self.path)


def load_module(name: str, text: str) -> ModuleType:
    """Import generated source from the cache; the same text is the same file, with its compiled code beside it.

    Without a cache that can be written nothing is kept. Raises `DmftsymError` if others can write to it.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    unique = f"dmftsym_generated_{name}_{digest}"
    if unique in sys.modules:
        return sys.modules[unique]
    folder = cache_folder()
    if folder is None:
        return load_uncached(name, text)
    path = folder / digest / f"{name[:60]}.py"
    try:
        private_folder(path.parent)
        private_folder(path.parent / "__pycache__")
        if not path.exists() or path.read_bytes() != text.encode():
            write_atomically(path, text)
        _forget_damaged(path.parent / "__pycache__")
    except OSError as error:
        without_cache(str(folder), error.strerror or str(error))
        return load_uncached(name, text)
    return _run(unique, str(path), text)


def load_uncached(name: str, text: str) -> ModuleType:
    """The module in memory; what Numba compiles is not kept."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    text, path = text.replace("cache=True", "cache=False"), f"<{name} {digest}>"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    return _run(f"dmftsym_generated_{name}_{digest}", path, text)


def reload_uncached(module: ModuleType, text: str) -> ModuleType:
    """The same module in memory, in place of one whose compiled code cannot be kept."""
    sys.modules.pop(module.__name__, None)
    return load_uncached(module.MODEL, text)


def _run(unique: str, path: str, text: str) -> ModuleType:
    spec = ModuleSpec(unique, _Source(unique, path, text), origin=path)
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


def _forget_damaged(folder: Path) -> None:
    """Remove what Numba has compiled if a part of it was cut off: it would fail for ever."""
    compiled = sorted([*folder.glob("*.nbi"), *folder.glob("*.nbc")])
    if all(map(_whole, compiled)):
        return
    notice(f"compiled code in the cache is damaged and built anew ({folder})")
    for path in compiled:
        path.unlink(missing_ok=True)


def _whole(path: Path) -> bool:
    """Whether a file of Numba goes to its end: pickled objects one after the other, which are read, not built."""
    with open(path, "rb") as file:
        try:
            for _ in range(2 if path.suffix == ".nbi" else 1):  # an index has its version in front
                for _ in pickletools.genops(file):
                    pass
            return not file.read(1)
        except (ValueError, struct.error):  # half a pickle
            return False
