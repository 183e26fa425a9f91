"""Loader of the templates: undeclared keys and unused keys are errors.

A template is looked up in the folders of the target first, then in `common`, which holds what all targets share.
"""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError, meta

from dmftsym.codegen.targets import TARGETS
from dmftsym.errors import CodegenError

COMMON = "common"
_PACKAGE = Path(__file__).resolve().parents[1]


def template_folder(target: str) -> Path:
    """A folder of templates, `COMMON` or that of a target: inside the installed package, or beside it in a checkout."""
    for root in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (root / target).is_dir():
            return root / target
    raise CodegenError(f"the templates of target '{target}' are not installed")


def template_folders(target: str) -> list[Path]:
    """Where the templates of a target are looked up, in order."""
    own = TARGETS[target].folders if target in TARGETS else ()
    return [f if isinstance(f, Path) else template_folder(f) for f in (*(own or (target,)), COMMON)]


def render(target: str, name: str, context: dict) -> str:
    """Fill the template `name` of a target. Raises `CodegenError` for keys that are missing or that nothing uses."""
    environment, used = _environment(tuple(template_folders(target)))
    missing, surplus = sorted(used - set(context)), sorted(set(context) - used)
    if missing or surplus:
        raise CodegenError(f"templates/{target}: missing keys {missing}, unused keys {surplus}")
    try:
        return environment.get_template(name).render(context)
    except UndefinedError as error:
        raise CodegenError(f"templates/{target}/{name}: {error}") from None


@lru_cache(maxsize=8)
def _environment(folders: tuple[Path, ...]) -> tuple[Environment, frozenset[str]]:
    """The templates of some folders, each parsed once, and the keys that they use."""
    loader = FileSystemLoader(folders)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    used: set[str] = set()
    waiting, seen = sorted(loader.list_templates()), set()
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            tree = environment.parse(loader.get_source(environment, current)[0])
            used |= meta.find_undeclared_variables(tree)
            waiting += [name for name in meta.find_referenced_templates(tree) if name]
    return environment, frozenset(used - {"kernel", "sweep", "target"})  # what the template of the module names
