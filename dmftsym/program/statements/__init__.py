"""The statements of a sweep, one file a kind; each carries its own rules (see `base`)."""

from dmftsym.program.statements.base import Link, Statement, Tangents, Transposition, Update, map_entries
from dmftsym.program.statements.contraction import Contract
from dmftsym.program.statements.directions import Influence, Sketch
from dmftsym.program.statements.draws import AdjointDraw, Draw, DrawVariation
from dmftsym.program.statements.elementwise import Assign, Kernel
from dmftsym.program.statements.functions import Evaluate
from dmftsym.program.statements.loops import TangentKernel
from dmftsym.program.statements.pieces import Piece, parted, product_of
from dmftsym.program.statements.recalls import AdjointBasis, AdjointRecall, ExtendBasis, RecallMemory

__all__ = [
    "AdjointBasis",
    "AdjointDraw",
    "AdjointRecall",
    "Assign",
    "Contract",
    "Draw",
    "DrawVariation",
    "Evaluate",
    "ExtendBasis",
    "Influence",
    "Kernel",
    "Link",
    "Piece",
    "RecallMemory",
    "Sketch",
    "Statement",
    "TangentKernel",
    "Tangents",
    "Transposition",
    "Update",
    "map_entries",
    "parted",
    "product_of",
]
