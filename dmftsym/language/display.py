"""Lines of LaTeX as one display: for notebooks, LaTeX files and HTML pages."""

_ROW_END = r" \\ "


def latex_block(lines: list[str]) -> str:
    """Lines under each other, left-aligned, as one ``aligned`` environment (without dollar signs)."""
    rows = _ROW_END.join("& " + line for line in lines)
    return rf"\begin{{aligned}} {rows} \end{{aligned}}"


class Displayed:
    """Gives a record with `latex_lines()` its notebook display and `text()` its ``str``."""

    __slots__ = ()

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
