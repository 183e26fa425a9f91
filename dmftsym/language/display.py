"""Lines of LaTeX as one display: for notebooks, LaTeX files and HTML pages."""

_ROW_END = r" \\ "


def latex_block(lines: list[str]) -> str:
    """Lines under each other, left-aligned, as one ``aligned`` environment (without dollar signs)."""
    rows = _ROW_END.join("& " + line for line in lines)
    return rf"\begin{{aligned}} {rows} \end{{aligned}}"


def latex_text(text: str) -> str:
    """Plain text that LaTeX shows as it is."""
    special = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"} | {c: "\\" + c for c in "_{}#$%&"}
    return "".join(special.get(c, c) for c in text)


def shortened(text: str, letters: int = 100) -> str:
    """The first line of a text, cut to some letters, and how many lines follow."""
    first, *more = text.splitlines() or [""]
    cut = first if len(first) <= letters else first[:letters] + "..."
    lines = "line" if len(more) == 1 else "lines"
    return f"{cut} (and {len(more)} more {lines})" if more else cut


class Displayed:
    """Gives a record with `latex_lines()` its notebook display, `text()` its ``str`` and, cut short, its ``repr``."""

    __slots__ = ()
    title = ""  # its heading in a document

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        # set before `dataclass` adds one that spells everything out
        cls.__repr__ = lambda self: f"<{type(self).__name__}: {shortened(self.text()) or 'nothing'}>"

    def text(self) -> str:
        """Plain text, one equation a line."""
        raise NotImplementedError

    def latex_lines(self) -> list[str]:
        """LaTeX, one equation an item."""
        raise NotImplementedError

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {latex_block(self.latex_lines())}$"

    def __str__(self) -> str:
        return self.text()
