"""The pipeline: language → derivation → lowering → codegen → runtime."""

import hashlib
from dataclasses import dataclass

from dmftsym.codegen.generate import Source, generate_source
from dmftsym.derivation.process import Processes, derive_processes
from dmftsym.derivation.saddle_point import SaddlePoint, derive_saddle_point
from dmftsym.language.action import Action, read_action
from dmftsym.language.display import Displayed
from dmftsym.language.model import Model
from dmftsym.lowering.ir import Program
from dmftsym.lowering.liveness import Liveness
from dmftsym.lowering.lower import lower
from dmftsym.lowering.schedule import Schedule
from dmftsym.lowering.schemes import scheme_named
from dmftsym.options import Options
from dmftsym.runtime.solver import Solver, load_solver


@dataclass(frozen=True)
class Derivation(Displayed):
    """The equations of a model: action, effective process of every site, saddle point."""

    action: Action
    process: Processes
    saddle_point: SaddlePoint

    def text(self) -> str:
        """Everything in plain text."""
        return "\n\n".join(part.text() for part in (self.action, self.process, self.saddle_point))

    def latex_lines(self) -> list[str]:
        """Everything as LaTeX."""
        return [line for part in (self.action, self.process, self.saddle_point) for line in part.latex_lines()]


@dataclass(frozen=True)
class CompiledModel:
    """Everything between a model and its solution, stage by stage; `solve` runs it."""

    derivation: Derivation
    liveness: Liveness
    schedule: Schedule
    program: Program
    source: Source
    solver: Solver

    def solve(self, parameters=None, data=None, *, steps: int, **options):
        """Solve the saddle-point equations; see `Solver.solve`."""
        return self.solver.solve(parameters, data, steps=steps, **options)


def derive(model: Model) -> Derivation:
    """Derive the effective process and the saddle-point equations of a model, without choosing a grid.

    Exact in the limit N → ∞ at fixed γ, η and time; all expressions are SymPy (`process`, `saddle_point`).
    Raises `LanguageError` if the model is not well formed, `DerivationError` if its action has no such equations.
    Cost: well under a second. Source: Martin-Siggia-Rose-De Dominicis-Janssen; Helias & Dahmen, arXiv:1901.10416.
    """
    action = read_action(model)
    return Derivation(action, derive_processes(action), derive_saddle_point(action))


def compile_model(model: Model, options: Options | None = None) -> CompiledModel:
    """Turn a model into a solver: check, derive, lower, generate, load.

    The generated module is written to the cache folder ($DMFTSYM_CACHE) and compiled on its first run.
    Raises `LanguageError`, `DerivationError`, `LoweringError` (acausal terms, instantaneous loops) or `CodegenError`.
    Cost: about a second, and as much again for the first run of each model.
    """
    options = options or Options()
    equations = derive(model)
    scheme = scheme_named(options.scheme)
    program, schedule, liveness = lower(
        equations.action, equations.process, equations.saddle_point, scheme, options.outputs
    )
    source = generate_source(program, options.backend, hash_of(equations.action), options.as_dict())
    return CompiledModel(equations, liveness, schedule, program, source, load_solver(source.name, source.text))


def hash_of(action: Action) -> str:
    """A hash of the mathematical content of a model: its action, declarations and formulas."""
    parts = [
        action.name,
        action.text(),
        *[f"{a.name}={a.formula}" for a in action.activations],
        *[f"{p.name}:{p.default}:{p.lower}:{p.strict}:{p.only}" for p in action.parameters],
        *[f"{d.tensor[d.tensor.indices]}:{d.otherwise}" for d in action.data],
        *[a.key() for a in action.axes],
        *[f"{i.name}:{i.axis.name}" for i in action.indices],
        *action.outputs,
        str(action.time_step),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
