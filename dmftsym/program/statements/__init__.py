"""The statements of a sweep, one file a kind; each carries its own rules.

A statement is an immutable record of what is updated, from what. `base` says what every one answers (`Statement`, and
`Update` for those that update one array) and what the rules may ask (`Transposition`; `Tangents`, next door):

- `reads` and `writes`: the expressions it reads, with the limits on their times, and the arrays it updates.
  `accesses` follows, and from it everything that schedule and fusion decide;
- `text`: the lines by which a printed program shows it;
- `run`: what it does to the arrays of a step, in plain NumPy: its meaning, against which generated code is tested;
- `tangent`: the statement that updates the first-order change of what this one updates. One rule serves response
  functions (along the times of an impulse) and covariances (along columns), and tangents of tangents;
- `links`: a first-order change term by term, change of target += coefficient · change of source. From it follows
  `transpose`, the statements that pass an adjoint on; a statement with more to say writes its own;
- `batched`: the statement on independent parts of the paths, one index more in all its entries; primitive ones run
  on each part by itself (`EachPart`), until they have a better rule.

The kinds: `elementwise` (`Assign`), `contraction` (`Contract`: averages over a site, and sums that keep the paths, of
the products in `pieces`), `functions` (`Evaluate`: what has no paths), `draws` (`Draw` and its change and adjoint),
`matrices` (`MatrixProduct`, `Learning`, their changes and adjoints), `recalls` (memories of random matrices in actions
that are averaged), `directions` (`Sketch`, `Influence`), `loops` (`PathLoop`: updates that share a loop over paths),
`parts` (`EachPart`).

What holds for all of them:
- code outside this folder asks a statement for its rules and does not look at its type. Where code still does (the
  printers of `codegen`, and places that need what only one kind has), that is to become a rule here;
- a missing tangent is refused in the user's words (`LoweringError`), but a change without `links` passes nothing on:
  with a tangent comes `links` or `transpose`;
- `equation` is the line that stands above the statement in generated code.

CONTRIBUTING.md shows how to add one.
"""

from dmftsym.program.statements.base import Link, Statement, Transposition, Update
from dmftsym.program.statements.contraction import Contract
from dmftsym.program.statements.directions import Influence, Sketch
from dmftsym.program.statements.draws import AdjointDraw, Draw, DrawVariation
from dmftsym.program.statements.elementwise import Assign
from dmftsym.program.statements.functions import Evaluate
from dmftsym.program.statements.loops import PathLoop
from dmftsym.program.statements.matrices import (
    AdjointDecay,
    AdjointLearning,
    AdjointProduct,
    Learning,
    LearningChange,
    MatrixChange,
    MatrixProduct,
)
from dmftsym.program.statements.parts import EachPart
from dmftsym.program.statements.pieces import Piece, parted, product_of
from dmftsym.program.statements.recalls import AdjointBasis, AdjointRecall, ExtendBasis, RecallMemory

__all__ = [
    "AdjointBasis",
    "AdjointDecay",
    "AdjointDraw",
    "AdjointLearning",
    "AdjointProduct",
    "AdjointRecall",
    "Assign",
    "Contract",
    "Draw",
    "DrawVariation",
    "EachPart",
    "Evaluate",
    "ExtendBasis",
    "Influence",
    "Learning",
    "LearningChange",
    "Link",
    "MatrixChange",
    "MatrixProduct",
    "PathLoop",
    "Piece",
    "RecallMemory",
    "Sketch",
    "Statement",
    "Transposition",
    "Update",
    "parted",
    "product_of",
]
