"""Names for code: a user's name that cannot stand in generated code is replaced there, and only there."""

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace

from sympy import Basic

from dmftsym.derivation.averages import is_source_name, source_name
from dmftsym.derivation.derive import Derivation
from dmftsym.errors import DmftsymError, LoweringError
from dmftsym.language.action import Action, Declarations, SiteAction
from dmftsym.language.activations import Activation
from dmftsym.language.disorder import RandomMatrix
from dmftsym.language.sums import SiteSymbol
from dmftsym.language.symbols import Axis, Index, Kind, Parameter, Size, Tensor, stem_of

# words of C++ and CUDA, in which kernels are written, beside those of Python
_C_WORDS = frozenset(
    "alignas alignof asm auto bool case catch char class const constexpr default delete do double dynamic_cast enum "
    "explicit export extern float for friend goto inline int long mutable namespace new operator private protected "
    "public register reinterpret_cast restrict short signed sizeof static static_assert static_cast struct switch "
    "template this thread_local throw typedef typeid typename union unsigned using virtual void volatile wchar_t NULL "
    "threadIdx blockIdx blockDim gridDim warpSize printf erf erfc exp log sin cos tan sqrt pow fmin fmax fabs".split()
)
_PYTHON_WORDS = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins)])
_LETTERS = {"lamda": "lambda"}


@dataclass(frozen=True)
class GeneratedNames:
    """The names that a generator gives: whole words, and beginnings and ends of names."""

    words: frozenset[str]
    starts: tuple[str, ...]
    ends: tuple[str, ...]

    def clash(self, name: str) -> bool:
        """Whether a name cannot stand in generated code as it is."""
        if name in self.words or name in _C_WORDS or name in _PYTHON_WORDS or self.unfit(name):
            return True
        return name.startswith(self.starts) or name.endswith(self.ends) or is_source_name(name)

    def unfit(self, name: str) -> bool:
        """Whether a name cannot even be the end of a name in generated code, as those of sites are."""
        if not (name.isidentifier() and name.isascii()) or name.startswith("_"):
            return True
        return any(f"{start}{name}" in self.words for start in self.starts)

    def begins(self, name: str) -> bool:
        """Whether names that begin with this one are generated otherwise: fields and activations form names."""
        return f"{name}_" in self.starts


def with_code_names(equations: Derivation, generated: GeneratedNames) -> tuple[Derivation, dict[str, str]]:
    """The equations with names that can stand in code, and the names that changed: the user's, then the code's."""
    said = [m.name for m in equations.disorder.matrices] if equations.disorder else []
    names = _choose(equations.action, generated, said)
    if not names:
        return equations, {}
    return _Renaming(equations, names, generated).of(equations), names


@contextmanager
def users_names_in_errors(names: dict[str, str]) -> Iterator[None]:
    """Errors raised inside show the user's names."""
    try:
        yield
    except DmftsymError as error:
        message = str(error)
        for name, code in names.items():
            # what is formed of a name, as that of a source, keeps its beginning
            message = re.sub(rf"(?<!\w)((?:[a-z0-9]+_)*){re.escape(code)}(?!\w)", rf"\g<1>{name}", message)
        raise type(error)(message) from None


def _choose(action: Action, generated: GeneratedNames, matrices: list[str]) -> dict[str, str]:
    """A name for code for every name of the user that clashes, in the order of declaration; of matrices too."""
    own = [*_names_of(action), *matrices]
    stems = {stem_of(i.name) for i in action.declared.indices}
    indices = {i.name for i in action.declared.indices}
    taken = {*own, *(a.name for a in action.declared.axes)}
    chosen: dict[str, str] = {}
    local = {t.name for s in action.sites for t in (*s.fields, *(d.tensor for d in s.definitions))}
    activations, sites = {a.name for a in action.declared.activations}, {s.name for s in action.sites}
    for name in own:
        if name in sites:
            clash = generated.unfit(name) or bool(re.search(r"_\d+$", name))  # kernels are numbered
        elif name in activations:
            clash = generated.unfit(name) or generated.begins(name)
        elif name in local:
            clash = generated.clash(name) or generated.begins(name)
        elif name == action.name:
            clash = not (name.isidentifier() and name.isascii())
        else:
            numbered = name not in indices and stem_of(name) in stems  # derivations number indices: s, s1, s2
            clash = numbered or generated.clash(name) or (name in indices and generated.clash(stem_of(name)))
        if clash:
            chosen[name] = _free(name, generated, taken, stems)
            taken.add(chosen[name])
    return chosen


def _names_of(action: Action) -> list[str]:
    """Every name of a model that stands in code, once."""
    declared = action.declared
    names = [action.name, *(i.name for i in declared.indices), *(a.size for a in declared.axes if not _is_fixed(a))]
    names += [p.name for p in declared.parameters] + [a.name for a in declared.activations]
    return list(dict.fromkeys([*names, *(t.name for t in action.tensors), *(s.name for s in action.sites)]))


def _is_fixed(axis: Axis) -> bool:
    return axis.is_time or axis.size.isdigit()


def _free(name: str, generated: GeneratedNames, taken: set[str], stems: set[str]) -> str:
    """The name in Latin letters and an underscore, so that it is no one else's."""
    base = _latin(name)
    for count in range(1, len(taken) + 3):
        for start in ("", "own" + "_"):
            code = f"{start}{base}{count if count > 1 else ''}_"
            if code not in taken and not generated.clash(code) and stem_of(code) not in stems:
                return code
    raise LoweringError(f"no name for {name} can stand in code")


def _latin(name: str) -> str:
    """A name in Latin letters, digits and underscores: Greek letters by their names."""
    parts = []
    for letter in unicodedata.normalize("NFKD", name):
        if letter.isascii():
            parts.append(letter if letter.isalnum() else "_")
        elif letter.isalpha() or letter.isdigit():
            known = unicodedata.name(letter, "").split()
            word = known[3].lower() if known[:1] == ["GREEK"] and len(known) == 4 else f"u{ord(letter):x}"
            word = _LETTERS.get(word, word)
            parts.append(word.capitalize() if letter.isupper() else word)
    text = "".join(parts).strip("_")
    return text if text[:1].isalpha() else f"n{text}"


class _Renaming:
    """Replaces names in records of any kind: symbols in expressions, axes, and texts that name sites or results."""

    def __init__(self, equations: Derivation, names: dict[str, str], generated: GeneratedNames):
        action = equations.action
        self.names, self.generated = dict(names), generated
        driven = [e for p in equations.process for e in p.equations]
        ranks = [(e.field.name, rank) for e in driven for rank in range(len(e.sources))]
        ranks += [(field.name, 0) for site in action.sites for field in site.fields]
        self.sources = {source_name(f, rank): source_name(names.get(f, f), rank) for f, rank in ranks}
        self.taken = {*_names_of(action), *names.values(), *(a.name for a in action.declared.axes)}
        self.stems = {stem_of(i.name): names[i.name] for i in action.declared.indices if i.name in names}
        self.atoms: dict[Basic, Basic] = {}

    def of(self, value):
        """The value with all its names replaced."""
        if isinstance(value, Basic):
            return self.expression(value)
        if isinstance(value, Axis):
            parts = tuple(self.of(p) for p in value.parts)
            return replace(value, size=value.size if _is_fixed(value) else self.name(value.size), parts=parts)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: self.field(value, f.name) for f in fields(value) if f.init})
        if isinstance(value, tuple | list | frozenset):
            return type(value)(self.of(item) for item in value)
        if isinstance(value, dict):
            return {self.of(key): self.of(item) for key, item in value.items()}
        return value

    def field(self, record, field: str):
        """A field of a record; texts are names where they name a site, results, or what the record is."""
        value = getattr(record, field)
        named = field in ("site", "sites", "outputs") or (
            field == "name" and isinstance(record, SiteAction | Declarations | RandomMatrix)
        )
        if named and isinstance(value, str):
            return self.name(value)
        if named and isinstance(value, tuple) and all(isinstance(v, str) for v in value):
            return tuple(self.name(v) for v in value)
        return self.of(value)

    def name(self, name: str) -> str:
        """A name for code."""
        if name not in self.names and not name.isascii():
            self.names[name] = _free(name, self.generated, self.taken, set())
            self.taken.add(self.names[name])
        return self.names.get(name, name)

    def expression(self, value: Basic) -> Basic:
        kinds = (Tensor, Index, Parameter, Size, Activation, SiteSymbol)
        found = sorted(value.atoms(*kinds), key=str)
        return value.xreplace({a: new for a in found if (new := self.atom(a)) != a})

    def atom(self, atom):
        if atom not in self.atoms:
            self.atoms[atom] = self._atom(atom)
        return self.atoms[atom]

    def _atom(self, atom):
        if isinstance(atom, Index):
            new = Index(self._index(atom.name), self.of(atom.axis))
        elif isinstance(atom, Size):
            return Size(self.of(atom.axis))
        elif isinstance(atom, SiteSymbol):
            return SiteSymbol(self.name(atom.name))
        elif isinstance(atom, Activation):
            new = Activation(self.name(atom.name), self.expression(atom.formula))
        elif isinstance(atom, Parameter):
            rest = (atom.default, atom.lower, atom.strict, atom.only, atom.reason, atom.upper)
            new = Parameter(self.name(atom.name), *rest)
        else:
            indices = tuple(self.atom(i) for i in atom.indices)
            site = self.name(atom.site) if atom.site else ""
            name = self.sources[atom.name] if atom.kind == Kind.SOURCE else self.name(atom.name)
            return Tensor(name, atom.kind, indices, site, atom.latex_name)
        new.latex_name = atom.latex_name
        return new

    def _index(self, name: str) -> str:
        """An index of the user, or one that a derivation formed of it: primed or numbered."""
        stem = stem_of(name)
        if name in self.names or stem not in self.stems:
            return self.names.get(name, name)
        return self.stems[stem].rstrip("_0123456789") + "_" + name[len(stem) :]
