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


LONGEST = 600  # characters of a message
LONGEST_WORD = 120  # of a name or value in it


def one_line(message: str) -> str:
    """A message without line breaks and control characters, long names and values cut."""
    words = [w if len(w) <= LONGEST_WORD else f"{w[: LONGEST_WORD - 3]}..." for w in str(message).split()]
    escaped = lambda c: c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
    text = "".join(map(escaped, " ".join(words)))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
