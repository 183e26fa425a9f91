"""What runs on independent parts of the sample paths, one after the other."""

from dataclasses import dataclass

from dmftsym.language.symbols import Index, Tensor
from dmftsym.program.statements.base import Primitive, Statement


@dataclass(frozen=True)
class EachPart(Primitive):
    """A statement on each part of the paths by itself, on its slice of the arrays along `index`.

    The rule of statements that are more than entries: draws with their factors, recalled memories.
    """

    statement: Statement
    index: Index
    equation: str

    def reads(self, now: Index):
        """What the statement reads."""
        yield from self.statement.reads(now)

    @property
    def writes(self) -> tuple[Tensor, ...]:
        """What the statement writes, each part its own."""
        return self.statement.writes

    def text(self) -> list[str]:
        """The lines of the statement."""
        return [f"each {self.index}: {line}" for line in self.statement.text()]

    def run(self, state) -> None:
        """Part by part."""
        for part in state.parts:
            part.now, part.numbers = state.now, state.numbers
            self.statement.run(part)
