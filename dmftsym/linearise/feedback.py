"""Which quantities fluctuate, which of them feed back, and which a requested covariance needs."""

from dataclasses import dataclass

from dmftsym.errors import LoweringError
from dmftsym.language.display import Displayed
from dmftsym.lowering.lower import Lowered
from dmftsym.program.nodes import Node, closure


@dataclass(frozen=True)
class Feedback(Displayed):
    """Liveness of fluctuations: `closed` averages drive each other, `observed` ones follow, `derived` by chain rule.

    `active` are the names of all schedule nodes whose first-order change is needed, `following` those among them that
    change even if nothing that feeds back does; `unused` are quantities that no requested covariance needs.
    """

    requested: tuple[str, ...]
    closed: tuple[str, ...]
    observed: tuple[str, ...]
    derived: tuple[str, ...]
    active: tuple[str, ...]
    following: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def averages(self) -> tuple[str, ...]:
        """All site averages whose fluctuations are needed."""
        return (*self.closed, *self.observed)

    def text(self) -> str:
        """One line a class of quantities."""
        lines = [f"covariances of: {', '.join(self.requested)}"]
        lines.append(f"fluctuation variables that feed back: {', '.join(self.closed) or 'none'}")
        if self.observed:
            lines.append(f"observed, feed nothing back: {', '.join(self.observed)}")
        if self.derived:
            lines.append(f"by the chain rule: {', '.join(self.derived)}")
        if self.unused:
            lines.append(f"not needed: {', '.join(self.unused)}")
        return "\n".join(lines)

    def latex_lines(self) -> list[str]:
        """The same as text."""
        return [rf"\text{{{line}}}".replace("_", r"\_") for line in self.text().splitlines()]


def find_feedback(lowered: Lowered, requested: tuple[str, ...], noisy: tuple[str, ...] = ()) -> Feedback:
    """Sort the quantities of a lowered model by their part in its fluctuations; `noisy` ones have noise of their own.

    Raises `LoweringError` for a requested quantity that does not depend on any site average.
    """
    nodes = {n.name: n for n in (*lowered.schedule.step, *lowered.schedule.epilogue)}
    reads = {name: [r for r, _ in node.reads if r in nodes] for name, node in nodes.items()}
    responses = {r.tensor.name for r in lowered.responses}
    averages = [name for name, node in nodes.items() if _is_average(node) or name in responses or name in noisy]
    fluctuating = closure(averages, _reversed(reads))
    for name in requested:
        if name not in fluctuating:
            raise LoweringError(
                f"covariance of '{name}': it does not depend on any site average, so it does not fluctuate"
            )
    active = closure(requested, reads) & fluctuating
    needed = [name for name in averages if name in active]
    closed = tuple(name for name in needed if name in closure(reads[name], reads))
    observed = tuple(name for name in needed if name not in closed)
    own = lambda n: is_function(n) and not n.auxiliary and n.name not in responses
    derived = tuple(n.name for n in nodes.values() if n.name in active and own(n))
    return Feedback(
        requested,
        closed,
        observed,
        derived,
        tuple(name for name in nodes if name in active),
        tuple(name for name in nodes if name in active & closure(observed, _reversed(reads))),
        tuple(n for n in lowered.liveness.unused if n not in active),
    )


def is_function(node: Node) -> bool:
    """Whether a node is a function of order parameters and data."""
    return all(s.is_function for s in node.statements)


def _is_average(node: Node) -> bool:
    return any(s.fluctuates for s in node.statements)


def _reversed(reads: dict[str, list[str]]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {name: [] for name in reads}
    for name, sources in reads.items():
        for source in sources:
            result[source].append(name)
    return result
