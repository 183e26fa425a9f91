"""`derive`: all equations of a model, without choosing a grid."""

from dataclasses import dataclass
from functools import cached_property

from dmftsym.averaging.average import Averaged, average_disorder
from dmftsym.derivation.finite_system import FiniteSystem, finite_system
from dmftsym.derivation.hessian import Hessian, derive_hessian
from dmftsym.derivation.positivity import check_covariances
from dmftsym.derivation.process import Processes, derive_processes
from dmftsym.derivation.propagator import Propagator, derive_propagator
from dmftsym.derivation.responses import (
    ResponseFunction,
    find_responses,
    reaches,
    separate_responses,
    with_causal_memory,
)
from dmftsym.derivation.saddle_point import Reach, SaddlePoint, derive_order_parameters, derive_saddle_point
from dmftsym.derivation.worth_checking import WorthChecking, find_worth_checking
from dmftsym.language.action import Action
from dmftsym.language.display import Displayed
from dmftsym.language.model import Model
from dmftsym.language.reading import read_action


@dataclass(frozen=True)
class Derivation(Displayed):
    """The equations of a model: action, effective process of every site, saddle point, Hessian and propagator.

    `disorder` is the finite system of which the action is the average, if random matrices were said.
    """

    action: Action
    process: Processes
    saddle_point: SaddlePoint
    responses: tuple[ResponseFunction, ...] = ()
    causal: tuple[Reach, ...] = ()
    disorder: FiniteSystem | None = None

    @cached_property
    def hessian(self) -> Hessian:
        """Second derivatives of the action over all order parameters and conjugates, at the saddle point."""
        return derive_hessian(self.action, self.saddle_point, self.causal)

    @cached_property
    def propagator(self) -> Propagator:
        """The structure of −H^{-1}: blocks D and κ, and which order parameter drives which."""
        return derive_propagator(self.action, self.saddle_point, self.hessian)

    @cached_property
    def worth_checking(self) -> WorthChecking:
        """What a slip often looks like: factors that do not cancel, terms that vanish, and the like; mostly empty."""
        added = self.disorder.added if self.disorder else ()
        return find_worth_checking(self.action, self.process, self.saddle_point, self.responses, added)

    @property
    def parts(self) -> tuple[Displayed, ...]:
        """What is shown by default: the finite system if it was said, action, processes, saddle, worth checking."""
        first = [self.disorder] if self.disorder else []
        last = [self.worth_checking] if self.worth_checking else []
        return (*first, self.action, self.process, self.saddle_point, *last)

    def text(self) -> str:
        """Action, processes and saddle point in plain text, then what is worth checking."""
        return "\n\n".join(part.text() for part in self.parts)

    def latex_lines(self) -> list[str]:
        """Action, processes and saddle point as LaTeX, then what is worth checking."""
        return [line for part in self.parts for line in part.latex_lines()]


def derive(model: Model | Averaged) -> Derivation:
    """Derive the effective process and the saddle-point equations of a model, without choosing a grid.

    Exact in the limit N → ∞ at fixed γ, η and time; all expressions are SymPy (`process`, `saddle_point`).
    Raises `LanguageError` if the model is not well formed, `DerivationError` if its action has no such equations.
    Cost: well under a second. Source: Martin-Siggia-Rose-De Dominicis-Janssen; Helias & Dahmen, arXiv:1901.10416.
    """
    averaged = model if isinstance(model, Averaged) else average_disorder(model)
    action = read_action(averaged.model)
    processes = derive_processes(action)
    equations, sums = separate_responses(derive_order_parameters(action))
    responses = find_responses(equations, processes, sums)
    check_covariances(processes, responses)
    causal = reaches(responses, sums)
    saddle = derive_saddle_point(action, causal)
    return Derivation(
        action=action,
        process=with_causal_memory(processes, causal),
        saddle_point=saddle,
        responses=responses,
        causal=causal,
        disorder=finite_system(averaged),
    )
