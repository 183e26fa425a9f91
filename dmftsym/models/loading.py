"""Find a model by its library name or the path of a Python file, and build it with the wanted structure."""

import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dmftsym.errors import DmftsymError, LanguageError
from dmftsym.language.model import Model

_NOT_MODELS = ("__init__", "loading")


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: its module, which defines `model` or `build(**structure)`."""

    name: str
    module: ModuleType

    @property
    def options(self) -> dict[str, object]:
        """Structure options with their defaults."""
        if not self._defines("build"):
            return {}
        signature = _run_user_code(self.name, lambda: inspect.signature(self.module.build))
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {p.name: p.default for p in signature.parameters.values() if p.kind not in several}

    def _defines(self, name: str) -> bool:
        """Whether the file itself defines a name; asking the module could run code of the user."""
        return vars(self.module).get(name) is not None

    def _told(self, name: str, known: Mapping | None) -> dict:
        """The structure that a function of the module reads off what is known of a run."""
        if not known or not self._defines(name):
            return {}
        told = _run_user_code(self.name, lambda: getattr(self.module, name)(known))
        if not isinstance(told, dict):
            raise LanguageError(f"model {self.name}: {name}() must return a dict of structure options")
        return told

    @property
    def summary(self) -> str:
        """The first line of the module's documentation."""
        return (self.module.__doc__ or "").strip().splitlines()[0] if self.module.__doc__ else ""

    def build(
        self,
        settings: Mapping[str, str | object],
        shapes: Mapping[str, tuple] | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> Model:
        """The model with the given structure; `shapes` of the data and `parameters` may settle what the user left open.

        Raises `LanguageError` for an unknown option or a value of the wrong type.
        """
        options = self.options
        unknown = [name for name in settings if name not in options]
        if unknown:
            known = ", ".join(f"{k}={v}" for k, v in options.items()) or "none"
            raise LanguageError(f"model {self.name} has no structure option '{unknown[0]}'; it has {known}")
        structure = {name: _convert(name, value, options[name]) for name, value in settings.items()}
        structure = self._told("structure_from_data", shapes) | structure
        structure = self._told("structure_from_parameters", parameters) | structure
        if not self._defines("build"):
            return self.module.model
        missing = [name for name, default in options.items() if default is inspect.Parameter.empty]
        missing = [name for name in missing if name not in structure]
        if missing:
            raise LanguageError(f"model {self.name}: structure option '{missing[0]}' has no default, set it")
        model = _run_user_code(self.name, lambda: self.module.build(**structure))
        if not isinstance(model, Model):
            kind = type(model).__name__
            raise LanguageError(f"model {self.name}: build() must return a dmftsym.Model, it returned a {kind}")
        return model


def _run_user_code(name: str, run: Callable):
    """Run code of a model file; its errors are the user's, told in one line."""
    try:
        return run()
    except (DmftsymError, KeyboardInterrupt):
        raise
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise LanguageError(f"{name}{line}: {error.msg}") from None
    except SystemExit as error:
        raise LanguageError(f"{name}: the model file ends the program (sys.exit({error.code!r:.40}))") from None
    except BaseException as error:  # whatever a model file may raise
        raise LanguageError(f"{name}: {type(error).__name__}: {_text(error)}") from error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an error of the user may fail to tell its name
        return "(no text)"


def library() -> tuple[str, ...]:
    """The names of the models in the library."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in _NOT_MODELS))


def find_model(spec: str) -> ModelSource:
    """Look up a library name or load a Python file.

    Raises `LanguageError` if there is neither, or if the file defines no model.
    """
    if spec in library():
        return ModelSource(spec, importlib.import_module(f"dmftsym.models.{spec}"))
    path = Path(spec)
    if not os.path.isfile(spec):
        raise LanguageError(f"no model '{spec}': neither a file nor one of the library ({', '.join(library())})")
    module_spec = importlib.util.spec_from_file_location(f"dmftsym_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise LanguageError(f"{spec} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    execute = module_spec.loader.exec_module
    _run_user_code(spec, lambda: execute(module))
    build, model = vars(module).get("build"), vars(module).get("model")
    if build is not None and not callable(build):
        raise LanguageError(f"{spec}: `build` must be a function build(**structure), it is a {type(build).__name__}")
    if build is None and not isinstance(model, Model):
        raise LanguageError(f"{spec} defines neither `model` (a dmftsym.Model) nor `build(**structure)`")
    return ModelSource(path.stem, module)


def build_model(spec: str, **structure) -> Model:
    """Build a library model (or a model file) in one call: ``build_model("mlp", activation="relu")``."""
    return find_model(spec).build(structure)


def _convert(name: str, value, default):
    """A command-line string as a value of the type of the default."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    text = value.strip().lower()
    if isinstance(default, bool):
        if text in ("true", "yes", "1", "false", "no", "0"):
            return text in ("true", "yes", "1")
        raise LanguageError(f"structure option {name} is true or false, given: {value}")
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            kind = "whole number" if isinstance(default, int) else "number"
            raise LanguageError(f"structure option {name} is a {kind}, given: {value}") from None
    return value
