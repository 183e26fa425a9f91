"""One error class a stage; each message names the user's symbols, what was found and what was expected."""


class DmftsymError(Exception):
    """Base of every error that dmftsym raises on purpose."""


class LanguageError(DmftsymError):
    """The model as written is not a well-formed DMFT action."""


class DerivationError(DmftsymError):
    """The equations cannot be derived from a well-formed action."""


class LoweringError(DmftsymError):
    """The equations cannot be turned into a causal numerical scheme."""


class CodegenError(DmftsymError):
    """The numerical scheme cannot be written as source code (a missing printer rule or template key)."""


class SolveError(DmftsymError):
    """The compiled model cannot be solved with the given parameters and data."""


def out_of_memory(error: MemoryError) -> str:
    """One line for what asked for more memory than there is."""
    detail = f": {error}" if str(error) else ""
    return f"the memory does not suffice{detail}; reduce steps or points, or raise the limit (ulimit, control group)"
