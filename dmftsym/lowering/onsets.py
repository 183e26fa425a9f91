"""Impulses of schemes with two passes a step: the tangents of what moves start at the impulse, with their exact value.

An impulse in a source at time k makes everything that moves jump, through all that feels the source at once. Written
into the rates it would be spread over two steps, and at the start of time it would be right to first order only.
"""

from collections.abc import Callable
from dataclasses import replace

from sympy import Expr, Integer, KroneckerDelta, Mul

from dmftsym.derivation.responses import Tangent
from dmftsym.language.symbols import Entry, Index, Kind, Tensor
from dmftsym.language.terms import Term, as_expression, entries_of, substitute_activations
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.program.buffers import Buffer, Role


def grid_array(builder: QuantityBuilder, role: Role) -> Entry:
    """An array of numbers that the time grid fixes: times of impulses, times."""
    indices, name = (builder.kick, builder.now), role.replace(" ", "_")
    builder.buffers.setdefault(name, Buffer(Tensor(name, Kind.DEFINITION, indices), role))
    return Tensor(name, Kind.DATA, indices)[indices]


def at_source(tangent: Tangent, source: list[Index]) -> Expr:
    """1 where the indices of x are those of the source."""
    own = [i for i in tangent.of.indices if not i.is_time]
    return Mul(*[KroneckerDelta(i, j) for i, j in zip(own, source, strict=True)])


class Onsets:
    """What the tangents of one source are at the time of the impulse, and how much of that counts in integrals.

    `tensors`: the arrays of the tangents by name; `source`: the indices of the source but its time; `moving`: the
    fields with an equation of motion; `place`: the arguments that the array takes for an entry of a tangent.
    """

    def __init__(
        self,
        builder: QuantityBuilder,
        tangents: tuple[Tangent, ...],
        tensors: dict[str, Tensor],
        source: list[Index],
        moving: set[Tensor],
        place: Callable[[Entry], tuple[Expr, ...]],
    ):
        self.builder, self.tensors, self.source, self.moving, self.place = builder, tensors, source, moving, place
        self.tangents = {t.tensor.name: t for t in tangents}

    def halved(self, tensor: Tensor) -> Tensor:
        """A tangent as it stands in integrals, which begin at the time of the impulse: half its value counts there."""
        half = Tensor(f"half_{tensor.name}", Kind.DEFINITION, tensor.indices, tensor.site)
        if half.name not in self.builder.buffers:
            self._add(half, (Term(grid_array(self.builder, Role.HALF_ONSET) * tensor[tensor.indices]),))
        return half

    def restart(self, tangent: Tangent) -> tuple[Expr, Expr]:
        """Where a moving tangent starts (one there, else zero), and its value there."""
        onset = grid_array(self.builder, Role.ONSET)
        return onset, onset * self.jump(tangent)

    def jump(self, tangent: Tangent) -> Expr:
        """The jump of a moving field by a unit impulse; of any other one, how much of the impulse it holds."""
        terms = self.at_impulse(tangent.terms)
        if tangent.kicked:
            terms = (*terms, Term(at_source(tangent, self.source)))
        if not terms or all(t.body.is_number or not t.body.has(Entry) for t in terms):
            return as_expression(terms) if terms else Integer(0)
        tensor = self.tensors[tangent.tensor.name]
        indices = tuple(i for i in tensor.indices if i != self.builder.kick)
        jump = Tensor(f"jump_{tensor.name}", Kind.DEFINITION, indices, tensor.site)
        if jump.name not in self.builder.buffers:
            self._add(jump, terms)
        return jump[indices]

    def at_impulse(self, terms: tuple[Term, ...]) -> tuple[Term, ...]:
        """Terms that are linear in tangents, per unit impulse at its time, where what moves is still as it was."""
        found = []
        for term in terms:
            entry = next(e for e in entries_of(term.body) if e.tensor.name in self.tangents)
            tangent = self.tangents[entry.tensor.name]
            places = self.place(entry)
            if tangent.of in self.moving or places[-1] != self.builder.now:
                continue
            tensor = self.tensors[entry.tensor.name]
            value = self.jump(tangent).xreplace(dict(zip(tensor.indices, places, strict=True)))
            if value != 0:
                formula = (lambda body: body) if tensor.site else substitute_activations
                found.append(replace(term, body=formula(term.body.xreplace({entry: value}))))
        return tuple(found)

    def _add(self, tensor: Tensor, terms: tuple[Term, ...]) -> None:
        line = f"{tensor[tensor.indices]} = {as_expression(terms)}"
        if tensor.site:
            value = self.builder.lower_terms(terms, tensor.site, tensor.name)
            self.builder.add_site_array(tensor, Role.TANGENT, value, line)
        else:
            self.builder.add_function(tensor, terms, line, auxiliary=True)
