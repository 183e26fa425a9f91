"""A graph of quantities in columns, with arrows between them, drawn with Matplotlib."""

from collections.abc import Iterable

from sympy import latex

from dmftsym.language.symbols import Kind, Tensor

COLUMN_WIDTH, ROW_HEIGHT = 2.6, 1.1
Arrows = Iterable[tuple[Tensor, Tensor]]


def draw_columns(columns: list[list[Tensor]], solid: Arrows, dashed: Arrows, marked: tuple[Tensor, ...]):
    """A Matplotlib figure of quantities, column by column, with solid and dashed arrows; `marked` ones stand out."""
    from dmftsym.derivation.figure import Picture

    columns = [c for c in columns if c]
    height = max(len(c) for c in columns) * ROW_HEIGHT + 0.8
    figure = Picture(figsize=(COLUMN_WIDTH * len(columns) + 0.6, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-0.3 - COLUMN_WIDTH / 2, COLUMN_WIDTH * (len(columns) - 0.5) + 0.3)
    axes.set_ylim(-height / 2, height / 2)
    places = {}
    for k, column in enumerate(columns):
        for row, node in enumerate(column):
            places[node] = (COLUMN_WIDTH * k, ROW_HEIGHT * ((len(column) - 1) / 2 - row))
    for source, target in solid:
        _arrow(axes, places[source], places[target], "-")
    for source, target in dashed:
        _arrow(axes, places[source], places[target], (0, (4, 3)))
    for node, (x, y) in places.items():
        color = "#fde7c8" if node in marked else "#dfeaf7" if node.kind == Kind.ORDER_PARAMETER else "#eeeeee"
        box = {"boxstyle": "round,pad=0.45", "facecolor": color, "edgecolor": "#444444"}
        axes.text(x, y, f"${latex(node)}$", ha="center", va="center", fontsize=13, bbox=box, zorder=3)
    return figure


def _arrow(axes, start, end, style) -> None:
    """An arrow from one node to another, or a loop above a node that drives itself."""
    from matplotlib.patches import FancyArrowPatch

    if start == end:
        x, y = start
        start, end, bend = (x - 0.22, y + 0.22), (x + 0.22, y + 0.22), -1.8
    else:
        bend = 0.18
    arrow = FancyArrowPatch(
        start,
        end,
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=14,
        shrinkA=20 if bend > 0 else 4,
        shrinkB=20 if bend > 0 else 4,
        linestyle=style,
        color="#333333",
        zorder=2,
    )
    axes.add_patch(arrow)
