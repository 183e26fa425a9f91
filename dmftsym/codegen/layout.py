"""`laid_out`: generated modules with no line beyond 120 columns, and with the same meaning.

Python code breaks inside brackets, comments and documentation between words, sources of CUDA kernels after operators.
Lines that fit stay as they are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

WIDTH = 120
_TOKEN = re.compile(
    r'(?P<long>[rfbRFB]{0,2}"""[\s\S]*?""")|(?P<string>[rfbRFB]{0,2}(?:"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'))'
    r"|(?P<comment>#[^\n]*)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>\n)"
)
_HEAD = re.compile(r"return |raise |if |elif |assert |while |lambda: |yield |\*?\w+=(?![= ])|[\"'][^\"']*[\"']: ")
_LEVELS = (
    " if | else ", " or ", " and ", r" not in | in | is not | is | == | != | <= | >= | < | > ", r" \| ",
    r" \+ | - ", r"(?<=[\w\])\"])\*(?![*\s])| \* |(?<=[\w\])])/(?!/)| / | @ ", r"(?<=[\"']) (?=[rf]?[\"'])",
)  # fmt: skip


def laid_out(text: str) -> str:
    """The text of a module with long lines broken, at most two blank lines in a row, and no trailing blanks."""
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    text = "".join(_statement(part) if _is_long(part) else part for part in _statements(text))
    return re.sub(r"\n{4,}", "\n\n\n", text).rstrip() + "\n"


def _is_long(text: str) -> bool:
    return any(len(line) > WIDTH for line in text.split("\n"))


def _statements(text: str) -> Iterator[str]:
    """The statements, comments and blank lines of a module, each with all its lines."""
    begin, depth = 0, 0
    for token in _TOKEN.finditer(text):
        depth += bool(token["open"]) - bool(token["close"])
        if token["end"] and not depth:
            yield text[begin : token.end()]
            begin = token.end()


def _statement(text: str) -> str:
    """One statement that has a long line, broken up."""
    line = text.rstrip("\n")
    indent, code = len(line) - len(line.lstrip()), line.strip()
    tokens = list(_TOKEN.finditer(line))
    if code.startswith("#"):
        return _lines(_comment(code, indent, "#"))
    if any(t["long"] for t in tokens):
        raw = any(t["long"] and t["long"].startswith("r") for t in tokens)
        broken = _cuda_line if raw else _documentation_line
        return _lines([part for each in line.split("\n") for part in (broken(each) if _is_long(each) else [each])])
    comments = [t for t in tokens if t["comment"]]
    if not comments:
        return _lines(_code(" ".join(part.strip() for part in line.split("\n")), indent))
    if len(comments) > 1 or comments[0].end() < len(line) or "\n" in line:
        return text  # comments between the lines of a statement
    above = _comment(comments[0][0], indent, "#")
    return _lines([*above, *_code(line[: comments[0].start()].strip(), indent)])


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# --- words ----------------------------------------------------------------------------------------------------------


def _comment(text: str, indent: int, mark: str) -> list[str]:
    """A comment on several lines, the further ones indented."""
    words = text.removeprefix(mark).strip()
    pieces = _broken(words, WIDTH - indent - len(mark) - 1, WIDTH - indent - len(mark) - 5)
    return [f"{' ' * indent}{mark} {'    ' if k else ''}{piece.strip()}" for k, piece in enumerate(pieces)]


def _documentation_line(line: str) -> list[str]:
    """A line of a docstring on several lines, the further ones indented."""
    indent = len(line) - len(line.lstrip())
    pieces = _broken(line.strip(), WIDTH - indent, WIDTH - indent - 4)
    return [f"{' ' * (indent + 4 * bool(k))}{piece.strip()}" for k, piece in enumerate(pieces)]


def _broken(text: str, first: int, width: int, breaks: str = r"(?<=;) | (?=[+-] )", more: str = " ") -> list[str]:
    """A text in pieces of at most the given widths, cut where the patterns match: outside brackets if that goes."""
    pieces, room = [], first
    while len(text) > room:
        cuts = [(m.end(), k) for k, each in enumerate((breaks, more)) for m in re.finditer(each, text[: room + 1])]
        cuts = [(cut, k) for cut, k in cuts if len(text[:cut].rstrip()) <= room]
        depth = [len(re.findall(r"[(\[{]", text[:cut])) - len(re.findall(r"[)\]}]", text[:cut])) for cut, _ in cuts]
        rated = [(d, k, -cut) for (cut, k), d in zip(cuts, depth, strict=True)]
        cut = (
            -min([each for each in rated if -each[2] > room // 3] or rated, default=(0, 0, 0))[2] or text.find(" ") + 1
        )
        if not cut or not text[cut:].strip():
            break
        pieces.append(text[:cut])
        text, room = text[cut:], width
    return [*pieces, text]


def _cuda_line(line: str) -> list[str]:
    """A line of CUDA C on several lines, which may break wherever a word ends."""
    indent, code = len(line) - len(line.lstrip()), line.strip()
    if code.startswith("//"):
        return _comment(code, indent, "//")
    room = WIDTH - indent
    pieces = _broken(code, room, room - 4, r"[,;] | (?=[+-] )", r" |(?<=[\w)\]])[*/]")
    return [f"{' ' * (indent + 4 * bool(k))}{piece.strip()}" for k, piece in enumerate(pieces)]


# --- Python ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outline:
    """A piece of code with what stands inside brackets and strings blanked, and its outermost brackets and strings."""

    text: str
    groups: tuple[tuple[int, int], ...]
    strings: tuple[tuple[int, int], ...]


def _outline(code: str) -> _Outline:
    text, depth, start = list(code), 0, 0
    groups, strings = [], []
    for token in _TOKEN.finditer(code):
        if token["open"]:
            start = start if depth else token.start()
            depth += 1
        elif token["close"]:
            depth -= 1
            if not depth:
                groups.append((start, token.start()))
                text[start + 1 : token.start()] = "." * (token.start() - start - 1)
        elif token["string"] and not depth:
            strings.append((token.start(), token.end()))
            text[token.start() + 1 : token.end() - 1] = "." * (token.end() - token.start() - 2)
    return _Outline("".join(text), tuple(groups), tuple(strings))


def _code(code: str, indent: int, tail: str = "", inside: bool = False) -> list[str]:
    """Lines of a statement, or `inside` brackets of a part of one; `tail` follows it."""
    if indent + len(code) + len(tail) <= WIDTH:
        return [f"{' ' * indent}{code}{tail}"]
    outline = _outline(code)
    head = _HEAD.match(code)
    assigned = re.match(r".*? (?:[-+*/|]?=) (?:\w+ = )?", outline.text) if not inside else None
    loop = re.match(r"for .*? in ", outline.text) if not inside else None
    begin = assigned.end() if assigned else loop.end() if loop else head.end() if head else 0
    end = len(code)
    if not inside and code.endswith(":"):
        end, tail = end - 1, f":{tail}"
    front, body = code[:begin], code[begin:end]
    return _expression(front, body, tail, indent, inside and not front)


def _expression(front: str, body: str, tail: str, indent: int, inside: bool) -> list[str]:
    """Lines of an expression with what stands before and after it; `inside`: brackets around it need not be added."""
    outline, space = _outline(body), " " * indent
    parts = _parts(body, outline)
    if len(parts) > 1:
        if inside:
            return _filled(parts, indent, "", tail)
        return [f"{space}{front}(", *_filled(parts, indent + 4), f"{space}){tail}"]
    groups = [g for g in outline.groups if g[1] > g[0] + 1]
    if groups:
        first, last = max(groups, key=lambda g: g[1] - g[0])
        lines = [f"{space}{front}{body[: first + 1]}", *_items(body[first + 1 : last], indent + 4)]
        return [*lines, f"{space}{body[last:]}{tail}"]
    if outline.strings and len(outline.strings) == 1 and not re.match("[fr]?f", body):
        pieces = _string(body, WIDTH - indent - 4)
        if inside:
            return [f"{space}{p}{tail if k == len(pieces) - 1 else ''}" for k, p in enumerate(pieces)]
        return [f"{space}{front}(", *[f"{space}    {piece}" for piece in pieces], f"{space}){tail}"]
    return [f"{space}{front}{body}{tail}"]


def _items(body: str, indent: int) -> list[str]:
    """What stands between brackets, on one line or an item a line."""
    body, outline = body.strip(), _outline(body.strip())
    if indent + len(body) <= WIDTH or not _commas(outline) or " for " in outline.text:
        return _code(body, indent, "", True)
    cuts = [0, *(c + 1 for c in _commas(outline)), len(body) + 1]
    items = [body[a : b - 1].strip() for a, b in pairwise(cuts)]
    return _filled([item for item in items if item], indent, ",", ",")


def _commas(outline: _Outline) -> list[int]:
    return [m.start() for m in re.finditer(",", outline.text)]


def _parts(body: str, outline: _Outline) -> list[str]:
    """The operands of the loosest operator of an expression, each but the first with the operator in front."""
    if _commas(outline) and " for " not in outline.text:
        cuts = [c + 1 for c in _commas(outline)]
        return [body[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if body[a:b].strip()]
    if re.search(" for ", outline.text):
        cuts = [
            m.start() for m in re.finditer(r" (?:for|if) ", outline.text) if m.start() > outline.text.index(" for ") - 1
        ]
        return [body[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    for level in _LEVELS:
        cuts = [m.start() for m in re.finditer(level, outline.text)]
        if cuts:
            return [body[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return [body]


def _string(code: str, width: int) -> list[str]:
    """A string as several that Python joins."""
    quote = code[-1]
    return [f"{quote}{piece}{quote}" for piece in _broken(code[1:-1], width - 2, width - 2)]


def _filled(parts: list[str], indent: int, between: str = "", end: str = "") -> list[str]:
    """Parts of an expression on as few lines as hold them; `between` follows all but the last, which `end` follows."""
    lines: list[str] = []
    open_line = False
    for k, part in enumerate(parts):
        tail = end if k == len(parts) - 1 else between
        broken = _code(part, indent, tail, True)
        joined = f"{lines[-1]} {broken[0].strip()}" if open_line else ""
        if open_line and len(broken) == 1 and len(joined) <= WIDTH:
            lines[-1] = joined
            continue
        lines += broken
        open_line = len(broken) == 1
    return lines
