"""Products over the sample paths of one site, the terms of averages and of sums that keep the paths."""

from dataclasses import dataclass, replace

from sympy import Expr, Mul

from dmftsym.language.symbols import Entry, Index
from dmftsym.language.terms import Before, Term, entries_of
from dmftsym.program.accesses import Reading
from dmftsym.program.tangents import Tangents


@dataclass(frozen=True)
class Piece:
    """scalar · Σ coefficient · Π operands, summed over every index that the target does not carry.

    `mode`: the relative changes of the weights of the paths, which multiply the operands.
    """

    scalar: Expr
    coefficient: Expr
    operands: tuple[Entry, ...]
    constraints: tuple[Before, ...] = ()
    mode: Entry | None = None

    @property
    def body(self) -> Expr:
        """The product without sums."""
        return self.scalar * self.coefficient * Mul(*self.factors)

    @property
    def factors(self) -> tuple[Entry, ...]:
        """Everything that has one value per sample path."""
        return self.operands if self.mode is None else (*self.operands, self.mode)

    @property
    def site(self) -> str:
        """The site of whose paths it is a product."""
        return self.operands[0].tensor.site

    def reading(self, limits: tuple[Before, ...]) -> Reading:
        """What it reads, with the limits on its times."""
        return self.body, (*limits, *self.constraints)

    def tangent(self, along: Tangents) -> list["Piece"]:
        """The pieces of the first-order change at fixed weights."""
        result = []
        for k, operand in enumerate(self.operands):
            change = along.change_of(operand)
            before, after = self.operands[:k], self.operands[k + 1 :]
            if change is not None and change.tensor.site:
                result.append(replace(self, operands=(*before, change, *after)))
            elif change is not None:  # the same on every path
                result.append(replace(self, coefficient=self.coefficient * change, operands=(*before, *after)))
        for term in along.vary((Term(self.scalar * self.coefficient),)):
            scalar, shared = parted(Mul.make_args(term.body), along.now)
            result.append(replace(self, scalar=scalar, coefficient=shared))
        return result

    def term(self, target: Entry) -> Term:
        """The product as a term, its sums said."""
        bound = sorted(self.body.atoms(Index) - target.atoms(Index), key=lambda i: i.name)
        return Term(self.body, tuple(bound), self.constraints)

    def text(self, averaged: bool) -> str:
        """The piece as plain text."""
        inside = " ".join(str(o) for o in self.factors)
        front = self.scalar * self.coefficient
        front_text = "" if front == 1 else f"{front} * "
        limits = "".join(f" [{c}]" for c in self.constraints)
        return f"{front_text}{f'<{inside}>' if averaged else f'sum {inside}'}{limits}"


def parted(factors, now: Index) -> tuple[Expr, Expr]:
    """The product of the factors without indices other than the present time, and that of the others."""
    indexed = [f for f in factors if f.atoms(Index) - {now}]
    return Mul(*[f for f in factors if f not in indexed]), Mul(*indexed)


def product_of(body: Expr, constraints: tuple[Before, ...], now: Index) -> Piece:
    """A product as a piece. Raises ValueError with the factor that is a function of a path without an array."""
    plain: list[Expr] = []
    operands: list[Entry] = []
    for factor in Term(body).factors:
        if not any(e.tensor.site for e in entries_of(factor)):
            plain.append(factor)
        elif isinstance(factor, Entry):
            operands.append(factor)
        else:
            raise ValueError(factor)
    return Piece(*parted(plain, now), tuple(operands), constraints)
