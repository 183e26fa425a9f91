"""Loader of the templates: undeclared keys and unused keys are errors."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError, meta

from dmftsym.errors import CodegenError

_PACKAGE = Path(__file__).resolve().parents[1]


def template_folder(target: str) -> Path:
    """The folder of a target's templates: inside the installed package, or beside it in a source checkout."""
    for root in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (root / target).is_dir():
            return root / target
    raise CodegenError(f"the templates of target '{target}' are not installed")


def render(target: str, name: str, context: dict) -> str:
    """Fill the template `name` of a target. Raises `CodegenError` for keys that are missing or that nothing uses."""
    folder = template_folder(target)
    environment = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    used = set()
    for path in sorted(folder.glob("*.jinja")):
        used |= meta.find_undeclared_variables(environment.parse(path.read_text(encoding="utf-8")))
    used -= {"kernel", "sweep"}  # loop variables of the module template
    missing, surplus = sorted(used - set(context)), sorted(set(context) - used)
    if missing or surplus:
        raise CodegenError(f"templates/{target}: missing keys {missing}, unused keys {surplus}")
    try:
        return environment.get_template(name).render(context)
    except UndefinedError as error:
        raise CodegenError(f"templates/{target}/{name}: {error}") from None
