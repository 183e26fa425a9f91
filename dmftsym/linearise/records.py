"""What a linearisation gives: programs whose sweeps tell how quantities respond to the weights of the paths."""

from dataclasses import dataclass

from dmftsym.derivation.hessian import ExplicitNoise
from dmftsym.language.symbols import Index, Tensor
from dmftsym.program.printer import program_text
from dmftsym.program.program import Program
from dmftsym.program.sources import SourceGroup


@dataclass(frozen=True, kw_only=True)
class TangentPrograms:
    """The programs whose sweeps give covariances column by column.

    `plain` is that of all that the covariances need, `tangent` the same with the first-order change of every active
    quantity, `direct` the part of it that remains when the averages that feed back do not change (None if there is
    nothing else). `sketch` combines the observables of the averages at random, to find the directions that matter;
    `chain` passes the changes of the averages on to functions of them.
    """

    plain: Program
    tangent: Program
    direct: Program | None
    sketch: Program
    chain: Program


@dataclass(frozen=True, kw_only=True, repr=False)
class Fluctuations:
    """The linear response of a program to changes of its path weights, which is what a finite width is.

    `covariances` are the requested quantities with their changes, `averages` all that fluctuate, `following` the
    requested ones that the direct program computes; `jumps` are the updates that jump, so that the tangent program
    misses a part; `noise` is what explicit terms add to κ.
    """

    programs: TangentPrograms
    column: Index
    covariances: tuple[tuple[Tensor, Tensor], ...]
    averages: tuple[tuple[Tensor, Tensor], ...]
    following: tuple[str, ...]
    jumps: tuple[str, ...]
    noise: tuple[ExplicitNoise, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities whose covariances are computed."""
        return tuple(tensor.name for tensor, _ in self.covariances)

    def __repr__(self) -> str:
        return f"<Fluctuations of {', '.join(self.names)} in {self.programs.plain.facts.name}>"

    def __str__(self) -> str:
        """What is sketched, and the first-order changes."""
        programs = self.programs
        parts = {"sketch": programs.sketch, "tangent": programs.tangent, "direct": programs.direct}
        lines = [f"covariances of {', '.join(self.names)}"]
        if self.jumps:
            lines.append(f"updates that jump, differences of whole sweeps instead of tangents: {'; '.join(self.jumps)}")
        lines += [f"{name} {program_text(program)}" for name, program in parts.items() if program]
        return "\n\n".join(lines)


@dataclass(frozen=True, kw_only=True, repr=False)
class Influences:
    """The derivatives of requested quantities with respect to the path weights, by a sweep backward in time.

    `record` is the program with all its path arrays kept, `adjoint` the statements of one step backward. `duals` are
    the pairs of source groups that stand for one random matrix, used forward and backward; `symmetric` names the
    quantities of which the rows up to the present time hold everything, `exchangeable` those at one time that stay the
    same when two indices change places, and which; `jumps` are updates that jump, whose jumps are not seen.
    """

    record: Program
    adjoint: Program
    column: Index
    covariances: tuple[Tensor, ...]
    jumps: tuple[str, ...]
    duals: tuple[tuple[SourceGroup, SourceGroup], ...]
    symmetric: tuple[str, ...]
    exchangeable: tuple[tuple[str, int, int], ...] = ()
    noise: tuple[ExplicitNoise, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities whose covariances are computed."""
        return tuple(tensor.name for tensor in self.covariances)

    def __repr__(self) -> str:
        return f"<Influences on {', '.join(self.names)} in {self.record.facts.name}>"

    def __str__(self) -> str:
        """The sweep backward."""
        lines = [f"covariances of {', '.join(self.names)}, by a sweep backward in time"]
        for a, b in self.duals:
            square = f"{a.name} stands for one square random matrix, J_ij and J_ji correlated"
            lines.append(square if a == b else f"{a.name} and {b.name} stand for one random matrix")
        lines += [f"what jumps, which the sweep does not see: {', '.join(self.jumps)}"] * bool(self.jumps)
        return "\n".join([*lines, "backward " + program_text(self.adjoint)])
