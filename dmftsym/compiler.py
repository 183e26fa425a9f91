"""The pipeline: language → averaging → derivation → lowering → linearise → codegen → runtime."""

from dataclasses import dataclass, replace

from dmftsym.averaging.average import average_disorder
from dmftsym.codegen.generate import Source, generate_source
from dmftsym.codegen.layout import laid_out
from dmftsym.codegen.names import generated_names, in_users_names
from dmftsym.derivation.derive import Derivation, derive
from dmftsym.errors import DmftsymError
from dmftsym.language.action import hash_of
from dmftsym.language.model import Model
from dmftsym.linearise.feedback import Feedback
from dmftsym.linearise.fluctuations import linearise
from dmftsym.linearise.records import Fluctuations, Influences
from dmftsym.lowering.code_names import users_names_in_errors, with_code_names
from dmftsym.lowering.held import Asked
from dmftsym.lowering.liveness import Liveness
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named
from dmftsym.options import Options
from dmftsym.program.program import Program
from dmftsym.program.schedule import Schedule
from dmftsym.runtime.solver import Solver


@dataclass(frozen=True, repr=False)
class CompiledModel:
    """Everything between a model and its solution, stage by stage; `solve` runs it."""

    derivation: Derivation
    liveness: Liveness
    schedule: Schedule
    program: Program
    feedback: Feedback | None
    fluctuations: Fluctuations | Influences | None
    source: Source
    solver: Solver

    def __repr__(self) -> str:
        action, notes = self.derivation.action, self.derivation.worth_checking
        known = {
            "parameters": [p.name for p in action.declared.parameters],
            "data": [str(d.tensor[d.tensor.indices]) for d in action.declared.data],
            "results": [t.name for t in self.program.facts.outputs],
            "covariances": list(self.fluctuations.names) if self.fluctuations else [],
        }
        listed = "; ".join(f"{what} {', '.join(names)}" for what, names in known.items() if names)
        checking = f"; worth checking: {len(notes)}" if notes else ""
        return f"<CompiledModel {action.name} for {self.source.target}: {listed}{checking}>"

    def _repr_latex_(self) -> str:
        return self.derivation._repr_latex_()

    def solve(self, parameters=None, data=None, *, steps: int, **options):
        """Solve the saddle-point equations; see `Solver.solve`."""
        return self.solver.solve(parameters, data, steps=steps, **options)


def compile_model(model: Model, options: Options | None = None) -> CompiledModel:
    """Turn a model into a solver: average, derive, lower, linearise, generate, load.

    The generated module is written to the cache folder ($DMFTSYM_CACHE) and compiled on its first run.
    Raises `LanguageError`, `DerivationError`, `LoweringError` (acausal terms, instantaneous loops) or `CodegenError`.
    Cost: about a second, and as much again for the first run of each model.
    """
    options = options or Options()
    if not isinstance(options, Options):
        raise DmftsymError(f"compile_model takes Options(...), given: {options!r}")
    averaged = average_disorder(model)
    equations = derive(averaged)
    scheme = scheme_named(options.scheme)
    coded, names = with_code_names(equations, generated_names())
    outputs, covariance = (tuple(names.get(n, n) for n in wanted) for wanted in (options.outputs, options.covariance))
    with users_names_in_errors(names):
        wanted = (*coded.action.outputs, *outputs, *covariance)
        lowered = lower(coded, scheme, Asked(wanted=wanted, fluctuating=bool(covariance)))
        program = program_of(lowered)
        fluctuations, feedback = linearise(coded, scheme, covariance, program)
        source = generate_source(program, options.backend, hash_of(equations.action), options.as_dict(), fluctuations)
    source = replace(source, text=laid_out(in_users_names(source.text, names)))
    solver = Solver(source.name, source.text)
    return CompiledModel(
        derivation=equations,
        liveness=lowered.liveness,
        schedule=lowered.schedule,
        program=program,
        feedback=feedback,
        fluctuations=fluctuations,
        source=source,
        solver=solver,
    )
