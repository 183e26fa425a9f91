"""Random matrices as a user says them: ``J = m.matrix("J", rows, columns)``, ``J @ v``, ``J.T @ g``, ``J.learn(...)``.

The units of a site are the rows or the columns of a matrix. ``J @ v`` is what reaches a unit of the site of the rows
from all units of the site of the columns, Σ_j J_ij v_j; the entries are independent and Gaussian, with mean/N and
variance/N, N the width. The averaging stage turns a model with matrices into one without.
"""

from dataclasses import dataclass, field, replace

from sympy import Expr, Integer, S, Symbol, Tuple, latex
from sympy.core.expr import AtomicExpr

from dmftsym.errors import LanguageError
from dmftsym.language.arithmetic import Symbolic
from dmftsym.language.grammar import exact
from dmftsym.language.site import Site
from dmftsym.language.symbols import Entry, Index, Kind
from dmftsym.language.terms import entries_of, indices_of

_LOCAL = (Kind.FIELD, Kind.DEFINITION, Kind.DATA)


class MatrixSymbol(AtomicExpr):
    """The name of a random matrix inside an expression."""

    __slots__ = ("latex_name", "name")
    is_real = True

    def __new__(cls, name: str, latex_name: str = ""):
        obj = AtomicExpr.__new__(cls)
        obj.name, obj.latex_name = name, latex_name or latex(Symbol(name))
        return obj

    def __getnewargs__(self):
        return self.name, self.latex_name

    def _hashable_content(self):
        return ("MatrixSymbol", self.name, self.latex_name)

    def _sympystr(self, printer):
        return self.name

    def _latex(self, printer):
        return self.latex_name


class Applied(Symbolic, Expr):
    """A random matrix times a function of the units of a site; arguments: matrix, 1 if transposed, family, function."""

    precedence = 50  # as a product
    is_real = True
    is_commutative = True

    @property
    def matrix(self) -> str:
        """The name of the matrix."""
        return self.args[0].name

    @property
    def transposed(self) -> bool:
        """Whether it is the transpose that acts."""
        return self.args[1] == 1

    @property
    def member(self) -> tuple[Expr, ...]:
        """Which matrix of a family."""
        return tuple(self.args[2])

    @property
    def body(self) -> Expr:
        """What the matrix acts on."""
        return self.args[3]

    def _head(self, printer, transpose: str) -> tuple[str, str, str]:
        inside = ", ".join(printer._print(i) for i in self.member)
        return printer._print(self.args[0]), inside, transpose if self.transposed else ""

    def _sympystr(self, printer):
        name, inside, transpose = self._head(printer, ".T")
        body = printer._print(self.body)
        body = f"({body})" if self.body.is_Add or self.body.is_Mul else body
        return f"{name}{f'[{inside}]' if inside else ''}{transpose} @ {body}"

    def _latex(self, printer, exp=None):
        name, inside, transpose = self._head(printer, r"^{\top}")
        text = f"{name}{f'_{{{inside}}}' if inside else ''}{transpose}"
        body = printer._print(self.body)
        text = rf"{text} {body}" if isinstance(self.body, Entry) else rf"{text}\left[{body}\right]"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"

    def _eval_derivative(self, symbol):
        raise LanguageError(f"{self} cannot be differentiated: differentiate what stands around it")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """W(t+1) = W(t) + rate · left rightᵀ/N, summed over repeated indices (dW/dt in continuous time)."""

    time: Index
    rate: Expr
    left: Expr
    right: Expr
    member: tuple[Expr, ...] = ()


@dataclass
class RandomMatrix:
    """A random matrix between two sites; `J @ v`, `J.T @ g`, `J[k] @ v` for a family, `J.learn(...)`, `J.decay(...)`.

    Entries are Gaussian with mean/N and variance/N, N the width; `symmetry` is the correlation of J_ij with J_ji
    (rows and columns are one site then). A matrix with indices of its own is a family of independent matrices.
    """

    name: str
    rows: Site
    columns: Site
    mean: Expr = S.Zero
    variance: Expr = S.One
    symmetry: Expr = S.Zero
    indices: tuple[Index, ...] = ()
    latex: str = ""
    learned: list[Learned] = field(default_factory=list)
    decay_rate: Expr = S.Zero

    @property
    def symbol(self) -> MatrixSymbol:
        """Its name as a part of formulas."""
        return MatrixSymbol(self.name, self.latex)

    @property
    def T(self) -> "Use":
        """The transpose."""
        return self._plain("").T

    def __getitem__(self, member) -> "Use":
        member = member if isinstance(member, tuple) else (member,)
        if len(member) != len(self.indices):
            names = ", ".join(i.name for i in self.indices)
            raise LanguageError(f"matrix {self.name} is declared with the indices [{names}], {len(member)} given")
        for slot, index in zip(self.indices, member, strict=True):
            if isinstance(index, Index) and not slot.axis.accepts(index.axis):
                raise LanguageError(
                    f"matrix {self.name}: index {index} runs over axis '{index.axis.name}', but this place belongs to "
                    f"axis '{slot.axis.name}'"
                )
        return Use(self, tuple(exact(i) for i in member))

    def _plain(self, where: str) -> "Use":
        if self.indices:
            names = ", ".join(i.name for i in self.indices)
            raise LanguageError(f"matrix {self.name} is a family: say which one, {self.name}[{names}]{where}")
        return Use(self)

    def __matmul__(self, vector) -> Applied:
        return self._plain(" @ ...") @ vector

    def __rmatmul__(self, vector):
        raise LanguageError(f"{vector} @ {self.name}: a matrix acts to its right, {self.name}.T @ {vector}")

    def __rmul__(self, factor) -> "Use":
        return factor * self._plain(" @ ...")

    def __neg__(self) -> "Use":
        return -1 * self

    def learn(self, time: Index, rate, left, right) -> None:
        """Let the matrix learn: W(t+1) = W(t) + rate · left rightᵀ/N; repeated indices (samples, places) are summed.

        `left` is a function of the site of the rows at the time t, `right` one of the columns, `rate` one of order
        parameters and data. In continuous time the right-hand side is dW/dt. Raises `LanguageError`.
        """
        self._plain(".learn(...)").learn(time, rate, left, right)

    def decay(self, rate) -> None:
        """Let the whole matrix, drawn and learned, decay: W(t+1) = (1 - rate) W(t) + ...; dW/dt = -rate W + ..."""
        rate = exact(rate, f"the decay of matrix {self.name}")
        if entries_of(rate):
            raise LanguageError(f"the decay of matrix {self.name} is a number or a parameter, given: {rate}")
        self.decay_rate = rate

    def __repr__(self) -> str:
        return f"RandomMatrix({self.name!r}): rows {self.rows.name}, columns {self.columns.name}"


@dataclass(frozen=True)
class Use:
    """A matrix, or a member of a family, or its transpose, before it acts on something."""

    matrix: RandomMatrix
    member: tuple[Expr, ...] = ()
    transposed: bool = False
    factor: Expr = S.One

    @property
    def T(self) -> "Use":
        """The transpose."""
        return replace(self, transposed=not self.transposed)

    def __matmul__(self, vector) -> Applied:
        matrix = self.matrix
        where = f"{matrix.name}{'.T' if self.transposed else ''} @ {vector}"
        vector = exact(vector, where)
        site = matrix.rows if self.transposed else matrix.columns
        check_local(vector, site, where)
        return self.factor * Applied(matrix.symbol, Integer(self.transposed), Tuple(*self.member), vector)

    def __rmul__(self, factor) -> "Use":  # Python reads g*J @ v as (g*J) @ v
        return replace(self, factor=exact(factor, f"the factor of matrix {self.matrix.name}") * self.factor)

    def __neg__(self) -> "Use":
        return -1 * self

    def learn(self, time: Index, rate, left, right) -> None:
        """See `RandomMatrix.learn`."""
        matrix, where = self.matrix, f"matrix {self.matrix.name}.learn"
        if self.transposed:
            raise LanguageError(f"{where}: a transpose learns by exchanging the two sides, {matrix.name}.learn(...)")
        if not isinstance(time, Index) or not time.is_time:
            raise LanguageError(f"{where}: the first argument is a time index, given: {time}")
        rate, left, right = (exact(part, where) for part in (rate, left, right))
        check_local(left, matrix.rows, f"{where}: the left side {left}")
        check_local(right, matrix.columns, f"{where}: the right side {right}")
        for part in (left, right):
            off = [t for e in entries_of(part) for t in e.times if t != time]
            if off:
                raise LanguageError(f"{where}: {part} stands at the time {off[0]}, expected {time}")
        if any(e.tensor.site for e in entries_of(rate)):
            raise LanguageError(f"{where}: the rate {rate} is one of all units; put fields into the two sides")
        matrix.learned.append(Learned(time=time, rate=rate, left=left, right=right, member=self.member))


def check_local(vector: Expr, site: Site, where: str) -> None:
    """Refuse what is no function of the units of a site.

    Raises `LanguageError` for fields of other sites, response fields, order parameters, and what has no field at all.
    """
    entries = entries_of(vector)
    own = [e for e in entries if e.tensor.site == site.name]
    inner = [a for a in vector.atoms(Applied)]
    for entry in entries:
        hidden = any(entry in entries_of(a) for a in inner)
        if entry.tensor.site and entry.tensor.site != site.name and not hidden:
            raise LanguageError(f"{where}: {entry} belongs to site {entry.tensor.site}, expected {site.name}")
        if entry.tensor.kind not in _LOCAL:
            raise LanguageError(f"{where}: the {entry.tensor.kind} {entry} cannot stand here; put it in front")
    if not own and not inner:
        raise LanguageError(f"{where}: a function of the fields of site {site.name} is expected")
    times = {t for e in own for t in e.times}
    if len({i for t in times for i in indices_of(t)}) > 1:
        raise LanguageError(f"{where}: one time is expected, found {', '.join(sorted(map(str, times)))}")


def random_matrix(sites: dict[str, Site], name: str, ends: tuple[Site, Site], indices, moments: dict) -> RandomMatrix:
    """A checked matrix between the sites of the rows and of the columns; see `Model.matrix`. Raises `LanguageError`."""
    rows, columns = ends
    for what, site in (("rows", rows), ("columns", columns)):
        if not isinstance(site, Site) or sites.get(site.name) is not site:
            raise LanguageError(f"matrix {name}: its {what} are the units of a site of this model, given: {site!r}")
    for index in indices:
        if not isinstance(index, Index) or index.is_time:
            raise LanguageError(f"matrix {name}: {index} is no index of a family")
    values = {what: exact(value, f"the {what} of matrix {name}") for what, value in moments.items()}
    for what, value in values.items():
        if entries_of(value):
            raise LanguageError(f"the {what} of matrix {name} is a number or a parameter, given: {value}")
    if values["variance"].is_negative:
        raise LanguageError(f"the variance of matrix {name} is negative, {values['variance']}")
    symmetry = values["symmetry"]
    if symmetry != 0 and rows is not columns:
        raise LanguageError(f"matrix {name}: J_ij and J_ji are correlated only where rows and columns are one site")
    if symmetry.is_number and abs(symmetry) > 1:
        raise LanguageError(f"matrix {name}: the correlation of J_ij and J_ji is between -1 and 1, given: {symmetry}")
    return RandomMatrix(name=name, rows=rows, columns=columns, **values, indices=tuple(indices))
