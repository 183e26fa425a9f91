"""dmftsym: a compiler for the equations of dynamical mean-field theory.

import dmftsym as ds
model = ds.Model("my_model")          # axes, parameters, data, order parameters, sites, the action
ds.derive(model).saddle_point         # the equations, as SymPy and LaTeX
ds.compile_model(model).solve(...)    # a labelled result

The pipeline (`compiler.py` on one screen; the first page of each folder says what comes in, what goes out, and when):
language, averaging, derivation: what is written is averaged over its random matrices, becomes an `Action`, then a
`Derivation`: equations, without a grid
program, lowering: equations on a time grid become a `Program`: statements in causal order, each with its own rules
linearise: programs that tell how every quantity changes with the weights of the sample paths, for covariances
codegen: programs become the text of a standalone Numba or CuPy module, a `Source`
runtime: the module is loaded, run, and its arrays labelled
"""

from dmftsym.compiler import CompiledModel, Derivation, compile_model, derive
from dmftsym.errors import (
    CodegenError,
    DerivationError,
    DmftsymError,
    LanguageError,
    LoweringError,
    SolveError,
)
from dmftsym.language.functions import logistic, softplus
from dmftsym.language.grammar import parse_expression
from dmftsym.language.matrices import largest_eigenvalue
from dmftsym.language.model import Model
from dmftsym.language.sums import log_Z, past, sum_over
from dmftsym.models.loading import build_model
from dmftsym.options import Options
from dmftsym.version import __version__

__all__ = [
    "CodegenError",
    "CompiledModel",
    "Derivation",
    "DerivationError",
    "DmftsymError",
    "LanguageError",
    "LoweringError",
    "Model",
    "Options",
    "SolveError",
    "__version__",
    "build_model",
    "compile_model",
    "derive",
    "largest_eigenvalue",
    "log_Z",
    "logistic",
    "parse_expression",
    "past",
    "softplus",
    "sum_over",
]
