"""`Model`: where a user declares axes, parameters, data, order parameters, sites and the action."""

from collections.abc import Sequence

import sympy
from sympy import Add, Expr, Integer

from dmftsym.errors import LanguageError
from dmftsym.language.activations import NAMED, Activation, make_activation
from dmftsym.language.disorder import RandomMatrix, random_matrix
from dmftsym.language.display import latex_block, shortened
from dmftsym.language.free_indices import indices_of_formula
from dmftsym.language.grammar import exact, names_in_formula, parse_expression
from dmftsym.language.names import check_name
from dmftsym.language.site import Site
from dmftsym.language.sums import LogZ, log_Z
from dmftsym.language.symbols import Axis, Entry, Index, Kind, Parameter, Tensor
from dmftsym.language.terms import entries_of


class Model:
    """A DMFT model under construction; `read_action` turns it into an immutable `Action`.

    Every name is declared once: `LanguageError` otherwise. Nothing is computed here.
    """

    def __init__(self, name: str, description: str = ""):
        check_name(name, "model", free=True)
        self.name, self.description = name, description
        self.axes: dict[str, Axis] = {}
        self.index_symbols: dict[str, Index] = {}
        self.parameter_symbols: dict[str, Parameter] = {}
        self.activations: dict[str, Activation] = {}
        self.tensors: dict[str, Tensor] = {}
        self.data_sources: dict[str, list[tuple[Entry, Expr]]] = {}
        self.definitions: dict[str, Expr] = {}
        self.outputs: list[str] = []
        self.sites: dict[str, Site] = {}
        self.matrices: dict[str, RandomMatrix] = {}
        self.time_step: float | None = None
        self._action: Expr | None = None

    # --- axes and indices -------------------------------------------------------------------------

    def times(self, names: str, *, continuous: bool = False, dt: float | None = None) -> tuple[Index, ...]:
        """Declare time indices: ``t, s = m.times("t s")``.

        Discrete time counts steps (exact for gradient descent). `continuous` time has derivatives ``x.dot[t]`` and
        integrals, discretised with step `dt` (the default of the command line).
        """
        if dt is not None and (isinstance(dt, bool) or not isinstance(dt, int | float) or not 0 < dt < float("inf")):
            raise LanguageError(f"times: dt is the time step, a positive number, given: {dt!r}")
        axis = Axis("time", "T", is_time=True, continuous=continuous)
        self.time_step = dt if continuous and dt is not None else self.time_step
        return self._declare_indices(names, self._axis(axis))

    def indices(self, names: str, *, size: str | int, axis: str | None = None, joins: Sequence[Index] = ()):
        """Declare indices that run over an axis of their own: ``mu, nu = m.indices("mu nu", size="P")``.

        `size` is the symbol of the length (known from the data) or a whole number; `axis` names the dimension in
        results (default: the size). With `joins=(mu, a)` the axis stacks the axes of mu and a, which may then stand
        where this axis is declared. One name gives one index, several give a tuple.
        """
        if isinstance(size, bool) or not isinstance(size, str | int):
            raise LanguageError(f"indices {names}: size is the symbol of a length or a whole number, given: {size!r}")
        if not all(isinstance(i, Index) for i in (joins if isinstance(joins, list | tuple) else (joins,))):
            raise LanguageError(f"indices {names}: joins lists indices whose axes are stacked, given: {joins!r}")
        name = axis or str(size)
        check_name(name, "axis", free=True)
        parts = tuple(index.axis for index in joins)
        new = self._axis(Axis(name, str(size), parts=parts))
        declared = self._declare_indices(names, new)
        return declared if len(declared) > 1 else declared[0]

    def _axis(self, axis: Axis) -> Axis:
        if not axis.is_time and not axis.size.isdigit() and axis.name not in self.axes:
            self._check_name(axis.size)
        if axis.size.isdigit() and int(axis.size) < 1:
            raise LanguageError(f"axis '{axis.name}' has size {axis.size}; it needs at least one entry")
        known = self.axes.setdefault(axis.name, axis)
        if known.continuous != axis.continuous:
            raise LanguageError(f"axis '{axis.name}' is declared discrete once and continuous once")
        if known != axis:
            raise LanguageError(f"axis '{axis.name}' is declared twice, with size {known.size} and {axis.size}")
        return axis

    def _declare_indices(self, names: str, axis: Axis) -> tuple[Index, ...]:
        result = []
        for name in _names(names, f"indices of axis '{axis.name}', size {axis.size}"):
            self._check_name(name)
            self.index_symbols[name] = Index(name, axis)
            result.append(self.index_symbols[name])
        return tuple(result)

    # --- numbers and functions --------------------------------------------------------------------

    def parameters(
        self, names: str, *, default=None, positive=False, nonnegative=False, within=None, only=None, reason=""
    ):
        """Declare numbers given at run time: ``gamma, eta = m.parameters("gamma eta", positive=True)``.

        `default` makes them optional; `within` is the least and the largest value that makes sense, ``(-1, 1)`` for a
        correlation; `only` is the single value that this model supports, `reason` says why.
        """
        result = []
        for what, value in (("default", default), ("only", only)):
            if value is not None and (isinstance(value, str | bool) or not sympy.sympify(value).is_real):
                raise LanguageError(f"parameters {names}: {what} is a number, given: {value!r}")
        if within is not None and (not isinstance(within, list | tuple) or len(within) != 2):
            raise LanguageError(f"parameters {names}: within is the least and the largest value, given: {within!r}")
        for name in _names(names, "parameters"):
            self._check_name(name)
            lower, upper = within or (0 if positive or nonnegative else None, None)
            self.parameter_symbols[name] = Parameter(name, default, lower, positive, only, reason, upper)
            result.append(self.parameter_symbols[name])
        return tuple(result) if len(result) > 1 else result[0]

    def activation(self, name: str, function) -> Activation:
        """Declare an activation by name ("relu"), formula ("tanh(0.4*h)/0.4"), SymPy function or callable.

        Other names than h in a formula are parameters, which are declared by that: "tanh(beta*h)/beta".
        """
        self._check_name(name)
        if isinstance(function, str) and function.strip() not in NAMED:
            formula = self._formula_of_activation(function)
            function = lambda _: formula
        self.activations[name] = make_activation(name, function)
        return self.activations[name]

    def _formula_of_activation(self, text: str) -> Expr:
        names = [n for n in names_in_formula(text) if n != "h"]
        formula = parse_expression(text, ("h", *names) if "h" in names_in_formula(text) else ("h",))
        for name in names:
            if name not in self.parameter_symbols:
                self.parameters(name)
        return formula.xreplace({sympy.Symbol(n, real=True): self.parameter_symbols[n] for n in names})

    # --- arrays -----------------------------------------------------------------------------------

    def data(self, name: str, *indices: Index, otherwise: Expr | None = None, latex: str = "") -> Tensor:
        """Declare an array given at run time, its shape the sizes of `indices`.

        `otherwise` is a formula in other data from which it is computed when it is not given.
        """
        tensor = self._declare(name, Kind.DATA, indices, latex)
        if otherwise is not None:
            self.otherwise(tensor[tuple(indices)], otherwise)
        return tensor

    def otherwise(self, entry: Entry, formula: Expr) -> None:
        """Say how data are computed when they are not given, block by block: ``otherwise(Kx[a, nu], ...)``."""
        if not isinstance(entry, Entry) or entry.tensor.kind != Kind.DATA:
            raise LanguageError(f"otherwise({entry}): only data can be computed from other data")
        self.data_sources.setdefault(entry.tensor.name, []).append((entry, exact(formula, f"otherwise({entry})")))

    def order_parameter(self, name: str, *indices: Index, on_request: bool = False, latex: str = "") -> Tensor:
        """Declare an order parameter q; its conjugate is ``q.hat``.

        It is part of every result unless it is `on_request`: then it is computed only if something needs it.
        """
        tensor = self._declare(name, Kind.ORDER_PARAMETER, indices, latex)
        if not on_request:
            self.outputs.append(name)
        return tensor

    def define(self, name: str, *indices_and_formula, latex: str = "") -> Tensor:
        """Name a function of order parameters, data and parameters: ``define("K", mu, nu, t, formula)``.

        Without indices, those that stand once in some term of the formula are its indices (times last).
        """
        return self._define(Kind.DEFINITION, name, indices_and_formula, latex)

    def observable(self, name: str, *indices_and_formula, latex: str = "") -> Tensor:
        """Name a function of order parameters that is part of every result and feeds nothing back."""
        tensor = self._define(Kind.OBSERVABLE, name, indices_and_formula, latex)
        self.outputs.append(name)
        return tensor

    def _define(self, kind: Kind, name: str, indices_and_formula, latex: str) -> Tensor:
        *indices, formula = indices_and_formula or (None,)
        if isinstance(formula, Index):
            raise LanguageError(f"{kind} {name}: the formula is missing after its indices")
        formula = exact(formula, f"{kind} {name}")
        indices = indices or indices_of_formula(formula, self.index_symbols.values())
        tensor = self._declare(name, kind, indices, latex)
        self.definitions[name] = formula
        return tensor

    def _declare(self, name: str, kind: Kind, indices, latex: str) -> Tensor:
        self._check_name(name)
        for index in indices:
            if not isinstance(index, Index):
                raise LanguageError(f"{kind} {name}: {index} is not an index of this model")
        if len(set(indices)) != len(indices):
            raise LanguageError(f"{kind} {name}: an index is named twice in [{', '.join(i.name for i in indices)}]")
        self.tensors[name] = Tensor(name, kind, tuple(indices), latex_name=latex)
        return self.tensors[name]

    # --- sites and action -------------------------------------------------------------------------

    def site(self, name: str, *, size: Expr = 1) -> Site:
        """Open a population of statistically equal units with its own effective process.

        `size` is its relative size ν, the number of its units over the width N: a number or a parameter.
        """
        self._check_name(name, "site", free=True)
        size = exact(size, f"the size of site {name}")
        if size.is_nonpositive or entries_of(size):
            raise LanguageError(f"the size of site {name} is a positive number or a parameter, given: {size}")
        self.sites[name] = Site(name, self, size)
        return self.sites[name]

    def matrix(
        self, name: str, rows: Site, columns: Site, *indices: Index, mean=0, variance=1, symmetry=0, latex: str = ""
    ) -> RandomMatrix:
        """Declare a random matrix between two sites: ``J = m.matrix("J", neuron, neuron, variance=g**2)``.

        Its entries are independent and Gaussian with mean/N and variance/N, N the width; `symmetry` is the correlation
        of J_ij and J_ji, where rows and columns are one site. With `indices` it is a family of independent matrices.
        Raises `LanguageError`.
        """
        self._check_name(name, "matrix")
        moments = {"mean": mean, "variance": variance, "symmetry": symmetry}
        self.matrices[name] = random_matrix(self.sites, name, (rows, columns), indices, moments)
        self.matrices[name].latex = latex
        return self.matrices[name]

    @property
    def action(self) -> Expr:
        """The action S, without the factor N: explicit terms and ν·log_Z(site) for every site.

        If it is not set: −ν q̂ q for every order parameter, ν the size of the site that observes it (1 if several do,
        which add up), and ν·log_Z of every site.
        """
        if self._action is not None:
            return self._action
        sizes: dict[Tensor, list[Expr]] = {}
        for site in self.sites.values():
            for hat in {e.tensor for term in site.terms for e in entries_of(term, Kind.CONJUGATE)}:
                sizes.setdefault(hat, []).append(site.size)
        pairs = [t for t in self.tensors.values() if t.kind == Kind.ORDER_PARAMETER]
        weights = [sizes[q.hat][0] if len(sizes.get(q.hat, ())) == 1 else Integer(1) for q in pairs]
        explicit = [-w * q.hat[q.indices] * q[q.indices] for w, q in zip(weights, pairs, strict=True)]
        return Add(*explicit, *(s.size * log_Z(s) for s in self.sites.values()))

    @action.setter
    def action(self, expr: Expr) -> None:
        expr = exact(expr, "the action")
        unknown = [node.site for node in sorted(expr.atoms(LogZ), key=str) if node.site not in self.sites]
        if unknown:
            raise LanguageError(f"the action holds log_Z({unknown[0]}), but the model has no site of that name")
        self._action = expr

    def _check_name(self, name: str, what: str = "", free: bool = False) -> None:
        check_name(name, what, free)
        sizes = {axis.size for axis in self.axes.values() if not axis.is_time}
        symbols = (self.index_symbols, self.parameter_symbols, self.activations, self.tensors)
        taken = (*symbols, self.sites, self.matrices, sizes)
        if any(name in table for table in taken) or any(name in site.tensors for site in self.sites.values()):
            raise LanguageError(f"the name '{name}' is declared twice")

    def latex_lines(self) -> list[str]:
        """The action and those of the sites as LaTeX."""
        return [f"S = {sympy.latex(self.action)}", *(line for s in self.sites.values() for line in s.latex_lines())]

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {latex_block(self.latex_lines())}$"

    def __repr__(self) -> str:
        return f"Model({self.name!r}): {shortened(f'S = {self.action}')}"


def _names(text: str, what: str) -> list[str]:
    if not isinstance(text, str):
        raise LanguageError(f'{what}: names are text, such as "a b", given: {text!r}')
    names = text.replace(",", " ").split()
    if not names:
        raise LanguageError(f"{what}: no name is given")
    return names
