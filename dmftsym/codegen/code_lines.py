"""What lines of generated Python read and assign, as Python's own parser sees it."""

import ast
from collections.abc import Iterable
from functools import lru_cache


def names_in(blocks: Iterable[list[str]]) -> frozenset[str]:
    """The names that blocks of lines mention, each block whole statements; beside comments and text."""
    return frozenset().union(*(_names_of("\n".join(block)) for block in blocks))


def assigned_in(block: list[str]) -> list[str]:
    """The names that the first statement of a block of lines assigns, if any, in their order."""
    first = ast.parse("\n".join(block)).body[0]
    targets = first.targets if isinstance(first, ast.Assign) else []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def of_state(code: str, names: Iterable[str]) -> str:
    """Whole statements, or an expression, in which these names belong to the state."""
    lines = code.split("\n")
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and node.id in names]
    for row, column in sorted(((node.lineno - 1, node.col_offset) for node in found), reverse=True):
        before = lines[row].encode()[:column].decode()  # the parser counts bytes
        lines[row] = f"{before}state.{lines[row][len(before) :]}"
    return "\n".join(lines)


@lru_cache(maxsize=8192)
def _names_of(text: str) -> frozenset[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # entries of a table
        tree = ast.parse(f"{{{text}}}")
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
