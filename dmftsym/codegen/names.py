"""The names that generated code gives itself, and the user's names in its texts.

They are read off the generator: the words of its templates and of the strings of its source files, and the beginnings
and ends that it puts on names. So no list has to be kept.
"""

import re
from functools import lru_cache
from pathlib import Path

from dmftsym.codegen.targets import TARGETS
from dmftsym.codegen.templates import template_folders
from dmftsym.lowering.code_names import GeneratedNames

_PACKAGE = Path(__file__).resolve().parents[1]
_STAGES = ("derivation", "program", "lowering", "linearise", "codegen")  # those that form names
_WORD = re.compile(r"[A-Za-z_]\w*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
_LONG = re.compile(r'(r?)"""[\s\S]*?"""')
_TAG = re.compile(r"\{%.*?%\}|\{#.*?#\}|\{\{.*?\}\}")  # whose words are those of the generator
_COMMENT = re.compile(r"(?m)^\s*#.*$")
_SHORT = 3  # letters; shorter words of templates are local to functions without names of the user, but for these
_KEPT = ("cp", "dt", "np", "xp")
# formed where no string shows it
_STARTS = (
    *("adjoint_", "advance_", "tangent_", "update_"),
    *("cov_", "free_", "observed_", "push_", "response_", "se_", "sketch_"),
)
_ENDS = ("_change", "_initial", "_previous", "_sweep")


def generated_names() -> GeneratedNames:
    """Every name that the generator may give something, read off its templates and source files."""
    return _names_in_folders(tuple(dict.fromkeys(folder for target in TARGETS for folder in template_folders(target))))


@lru_cache(maxsize=4)
def _names_in_folders(folders: tuple[Path, ...]) -> GeneratedNames:
    words: set[str] = set(_KEPT)
    for path in sorted(p for folder in folders for p in folder.glob("*.jinja")):
        text = _without_documentation(_TAG.sub("", path.read_text(encoding="utf-8")))
        words |= {w for w in _WORD.findall(_STRING.sub("", _COMMENT.sub("", text))) if len(w) >= _SHORT}
    starts, ends = set(_STARTS), set(_ENDS)
    for path in sorted(p for stage in _STAGES for p in (_PACKAGE / stage).rglob("*.py")):
        for string in _STRING.findall(_without_documentation(path.read_text(encoding="utf-8"))):
            starts |= set(re.findall(r"(?<!\w)([A-Za-z]\w*_)(?=\{)", string))
            ends |= set(re.findall(r"(?<=\})(_[A-Za-z]\w*)", string))
            if path.parent.name == "codegen":
                words |= {w for w in _WORD.findall(re.sub(r"\{[^{}]*\}", " ", string)) if len(w) >= _SHORT}
    return GeneratedNames(frozenset(words), tuple(sorted(starts)), tuple(sorted(ends)))


def _without_documentation(text: str) -> str:
    """A source file without its long strings, but with the kernels in them, which are raw."""
    return _LONG.sub(lambda m: m[0].replace('"', " ") if m[1] else "", text)


_PARTS = re.compile(
    r"(?P<comment>#[^\n]*)"
    r'|(?P<prefix>[rfbRFB]{0,2})(?P<quotes>"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')'
)


def in_users_names(text: str, names: dict[str, str]) -> str:
    """Generated code whose comments, texts and keys hold the user's names; identifiers keep the `names` of the code.

    `names` maps the user's names to those of the code. Sources of kernels (raw strings) stay as they are.
    """
    if not names:
        return text
    back = {code: name for name, code in names.items()}
    listed = "|".join(sorted(map(re.escape, back), key=len, reverse=True))
    inside = re.compile(rf"(?<!\w)((?:[A-Za-z0-9]+_)*?)({listed})(?!\w)")  # also as the end of a key: excess_, u_
    show = lambda part: inside.sub(lambda m: m[1] + back[m[2]], part)

    def shown(match: re.Match) -> str:
        if match["comment"]:
            return show(match[0])
        prefix, body = match["prefix"].lower(), match["quotes"]
        kernel = text.startswith(', r"""', match.end()) or text.endswith('""", ', 0, match.start())
        if "r" in prefix or kernel or (not re.search(r"\s", body) and not inside.fullmatch(body.strip("'\""))):
            return match[0]
        pieces = re.split(r"(\{[^{}]*\})", body) if "f" in prefix else [body]
        return match["prefix"] + "".join(p if k % 2 else show(p) for k, p in enumerate(pieces))

    return _PARTS.sub(shown, text)
