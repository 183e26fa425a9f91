"""A Matplotlib figure that a notebook shows; Matplotlib is imported only with this module."""

from io import StringIO

from matplotlib import rc_context
from matplotlib.figure import Figure


class Picture(Figure):
    """A figure without pyplot, which shows itself as SVG where it is the result of a notebook cell."""

    def _repr_svg_(self) -> str:
        buffer = StringIO()
        with rc_context({"svg.hashsalt": "dmftsym"}):
            self.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        return buffer.getvalue()
