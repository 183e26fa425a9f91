"""Generated modules on disk: one folder a content hash, written once, so that compiled code is found again."""

import hashlib
import importlib.util
import sys
from types import ModuleType

from dmftsym.files import cache_folder, write_atomically


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
    assert spec is not None and spec.loader is not None  # the path ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module
