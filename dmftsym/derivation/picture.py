"""The graph of order parameters that drive each other, drawn with Matplotlib."""

from typing import TYPE_CHECKING

from sympy import latex

if TYPE_CHECKING:
    from dmftsym.derivation.propagator import Propagator

COLUMN_WIDTH, ROW_HEIGHT = 2.6, 1.1


def draw_drives(propagator: "Propagator"):
    """A Matplotlib figure: order parameters that feed back on the left, then those that follow, then functions of them.

    Solid arrows are blocks D (source to target), dashed ones the chain rule.
    """
    from dmftsym.derivation.figure import Picture

    closed = list(propagator.closed)
    columns = [closed, [q for q in propagator.order_parameters if q not in closed]]
    columns += _layers(propagator)
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
    for drive in propagator.drives:
        _arrow(axes, places[drive.source.tensor], places[drive.target.tensor], "-")
    for follower in propagator.followers:
        for source in follower.reads:
            _arrow(axes, places[source], places[follower.name.tensor], (0, (4, 3)))
    for node, (x, y) in places.items():
        color = "#fde7c8" if node in closed else "#dfeaf7" if node.kind == "order parameter" else "#eeeeee"
        box = {"boxstyle": "round,pad=0.45", "facecolor": color, "edgecolor": "#444444"}
        axes.text(x, y, f"${latex(node)}$", ha="center", va="center", fontsize=13, bbox=box, zorder=3)
    return figure


def _layers(propagator: "Propagator") -> list[list]:
    """Functions of order parameters, those that read other functions further to the right."""
    functions = {f.name.tensor: f for f in propagator.followers}

    def depth(tensor) -> int:
        return 1 + max((depth(r) for r in functions[tensor].reads if r in functions), default=-1)

    layers: list[list] = [[] for _ in range(1 + max(map(depth, functions), default=-1))]
    for tensor in functions:
        layers[depth(tensor)].append(tensor)
    return layers


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
