"""`read_action`: check a model and freeze it as an `Action`."""

from sympy import Expr, Integer, Mul, Symbol

from dmftsym.errors import LanguageError
from dmftsym.language.action import Action, Data, Declarations, Definition, SiteAction, Start
from dmftsym.language.activations import Activation, ActivationValue
from dmftsym.language.conjugates import conjugate_entry
from dmftsym.language.model import Model
from dmftsym.language.names import check_results
from dmftsym.language.site import Site
from dmftsym.language.sums import LogZ
from dmftsym.language.symbols import Entry, Index, Kind, Parameter, Size, Tensor, TimeDerivative
from dmftsym.language.terms import Term, contract, entries_of, expand, flatten, indices_of


def read_action(model: Model) -> Action:
    """Check a model and return its immutable action.

    Raises `LanguageError` for unknown symbols, fields outside their site, uncontracted indices, a missing conjugate,
    a site that the action leaves out, or an axis whose size nothing tells.
    """
    if not isinstance(model, Model):
        hint = f": ds.build_model({model!r}) builds it from the library or a file" if isinstance(model, str) else ""
        raise LanguageError(f"a Model is expected, given {type(model).__name__}{hint}")
    if not any(i.is_time for i in model.index_symbols.values()):
        raise LanguageError(f"model {model.name}: declare the time indices first, t, s = m.times('t s')")
    if not model.sites:
        raise LanguageError(f"model {model.name} has no site: m.site(name) opens one")
    pair_terms, weights = _split_action(model)
    tensors = model.tensors.values()
    declared = Declarations(
        name=model.name,
        description=model.description,
        axes=tuple(model.axes.values()),
        indices=tuple(model.index_symbols.values()),
        parameters=tuple(model.parameter_symbols.values()),
        activations=tuple(model.activations.values()),
        data=tuple(_read_data(model, t) for t in tensors if t.kind == Kind.DATA),
        time_step=model.time_step,
    )
    definitions = [(model.tensors[name], formula) for name, formula in model.definitions.items()]
    action = Action(
        declared=declared,
        order_parameters=tuple(t for t in tensors if t.kind == Kind.ORDER_PARAMETER),
        definitions=tuple(_read_definition(model, tensor, formula) for tensor, formula in definitions),
        sites=tuple(_read_site(model, site, weights[site.name]) for site in model.sites.values()),
        pair_terms=pair_terms,
        outputs=tuple(model.outputs),
        expression=model.action,
    )
    check_results((*action.order_parameters, *(d.tensor for d in action.definitions)), action.declared.axes)
    _check_conjugates(action)
    _check_sizes(action)
    return action


def _split_action(model: Model) -> tuple[tuple[Term, ...], dict[str, Expr]]:
    where = "the action"
    weights: dict[str, Expr] = {}
    explicit = []
    for term in flatten(model.action):
        nodes = [f for f in term.factors if isinstance(f, LogZ)]
        if not nodes:
            if term.body.has(LogZ):
                raise LanguageError(f"{where}: log_Z can only stand alone, times a weight, found {term}")
            explicit.append(term)
            continue
        weight = term.body / nodes[0]
        if len(nodes) > 1 or term.bound or weight.has(Entry):
            raise LanguageError(f"{where}: {term} must be a number or parameter times one log_Z")
        if nodes[0].site in weights:
            raise LanguageError(f"{where} holds log_Z({nodes[0].site}) twice")
        _check_symbols(model, weight, where, None, ())
        if weight.is_nonpositive:
            raise LanguageError(f"{where}: the weight of a site is positive, found {term}")
        weights[nodes[0].site] = weight
    missing = [name for name in model.sites if name not in weights]
    if missing:
        raise LanguageError(f"{where} leaves out site {missing[0]}: add ds.log_Z({missing[0]})")
    for term in explicit:
        _check_symbols(
            model, term.body, where, None, (Kind.DATA, Kind.ORDER_PARAMETER, Kind.CONJUGATE, Kind.DEFINITION)
        )
    return contract(tuple(explicit), (), where), weights


def _read_site(model: Model, site: Site, weight: Expr) -> SiteAction:
    where = f"the action of site {site.name}"
    kinds = (Kind.DATA, Kind.ORDER_PARAMETER, Kind.CONJUGATE, Kind.DEFINITION, Kind.FIELD, Kind.RESPONSE_FIELD)
    if not site.terms:
        raise LanguageError(f"site {site.name} has no action: site.action(...) gives it")
    _check_responses(site)
    terms = flatten(sum(site.terms, Integer(0)))
    for term in terms:
        _check_symbols(model, term.body, where, site, kinds)
    for name, moments in site.starts.items():
        for moment in moments:
            where_start = f"the initial value of {name}"
            _check_symbols(model, moment, where_start, None, (Kind.DATA, Kind.DEFINITION))
            _check_initial_value(moment, site.tensors[name], where_start)
    definitions = [(site.tensors[name], formula) for name, formula in site.definitions.items()]
    return SiteAction(
        name=site.name,
        weight=weight,
        fields=tuple(t for t in site.tensors.values() if t.kind == Kind.FIELD),
        definitions=tuple(_read_definition(model, tensor, formula, site) for tensor, formula in definitions),
        starts=tuple(Start(site.tensors[name], *moments) for name, moments in site.starts.items()),
        terms=contract(terms, (), where),
        expression=sum(site.terms, Integer(0)),
        repeated=_repeated(site),
    )


def _repeated(site: Site) -> tuple[Term, ...]:
    """The terms that stand in several calls of site.action.

    Raises `LanguageError` where a call is repeated as a whole, with an equation among its terms.
    """
    calls = [flatten(expression) for expression in site.terms]
    again: list[Term] = []
    for k, call in enumerate(calls):
        common = [t for t in call if any(t in earlier for earlier in calls[:k])]
        again += common
        left = next((side for t in common if (side := _left_side(t))), "")
        if left and len(common) == len(call):
            raise LanguageError(
                f"site {site.name}: site.action was called twice with the same terms, such as {left} "
                f"(a cell that ran twice?); build the model anew"
            )
    return tuple(dict.fromkeys(again))


def _left_side(term: Term) -> str:
    """The term -x.tilde[t]*x[t] that makes an equation, if it is one."""
    entries = [f for f in term.factors if isinstance(f, Entry | TimeDerivative)]
    if len(entries) != 2 or term.bound:
        return ""
    response, own = sorted(entries, key=lambda f: not (isinstance(f, Entry) and f.tensor.kind == Kind.RESPONSE_FIELD))
    field = own.entry.tensor if isinstance(own, TimeDerivative) else own.tensor
    return f"-{response}*{own}" if field.kind == Kind.FIELD and response == field.tilde[response.indices] else ""


def _check_responses(site: Site) -> None:
    """Every term of a site action holds a response field or a conjugate: said before its sums are looked at."""
    for factors in expand(sum(site.terms, Integer(0))):
        if not any(t.kind in (Kind.RESPONSE_FIELD, Kind.CONJUGATE) for f in factors for t in f.atoms(Tensor)):
            raise LanguageError(
                f"site {site.name}: this term of a site action has no response field (and no conjugate): "
                f"{Mul(*factors)}; equations are multiplied by one, -x.tilde[t]*(x[t] - ...)"
            )


def _check_initial_value(moment: Expr, field: Tensor, where: str) -> None:
    spatial = tuple(i for i in field.indices if not i.is_time)
    loose = [i for i in indices_of(moment) if i not in spatial]
    if loose:
        raise LanguageError(f"{where}: index {loose[0]} in {moment} is none of its indices {[str(i) for i in spatial]}")


def _read_definition(model: Model, tensor: Tensor, formula: Expr, site: Site | None = None) -> Definition:
    where = f"{tensor.kind} {tensor.name}"
    kinds = (Kind.DATA, Kind.ORDER_PARAMETER, Kind.DEFINITION, Kind.OBSERVABLE) + ((Kind.FIELD,) if site else ())
    times = [i for i in tensor.indices if i.is_time]
    terms = flatten(formula, times[0] if len(times) == 1 else None)
    for term in terms:
        _check_symbols(model, term.body, where, site, kinds)
    return Definition(tensor, contract(terms, tensor.indices, where))


def _read_data(model: Model, tensor: Tensor) -> Data:
    where = f"data {tensor.name}"
    blocks = []
    for entry, formula in model.data_sources.get(tensor.name, ()):
        terms = flatten(formula)
        for term in terms:
            _check_symbols(model, term.body, where, None, (Kind.DATA,))
        free = tuple(i for i in entry.indices if isinstance(i, Index))
        blocks.append((entry, contract(terms, free, where)))
    return Data(tensor, tuple(blocks))


def _check_symbols(model: Model, body: Expr, where: str, site: Site | None, kinds: tuple[str, ...]) -> None:
    unknown = sorted(str(s) for s in body.atoms(Symbol))
    if unknown:
        raise LanguageError(f"{where}: unknown symbol {unknown[0]} in {body}; declare it as a parameter or as data")
    declared = set(model.index_symbols.values()) | set(model.parameter_symbols.values())
    for atom in sorted(body.atoms(Index, Parameter), key=str):
        if atom not in declared and not isinstance(atom, Index):
            raise LanguageError(f"{where}: parameter {atom} is not declared in model {model.name}")
    for size in sorted(body.atoms(Size), key=str):
        if size.axis not in model.axes.values():
            raise LanguageError(f"{where}: {size} is not the size of an axis of model {model.name}")
    bare = body.xreplace({e: Integer(1) for e in entries_of(body)})
    for tensor in sorted(bare.atoms(Tensor), key=str):
        expected = ", ".join(i.name for i in tensor.indices)
        raise LanguageError(f"{where}: {tensor} stands without its indices [{expected}], in {body}")
    for activation in sorted(
        bare.xreplace({v: Integer(1) for v in bare.atoms(ActivationValue)}).atoms(Activation), key=str
    ):
        raise LanguageError(f"{where}: the activation {activation} stands without an argument, in {body}")
    for entry in entries_of(body):
        home = model.tensors.get(entry.tensor.name)
        if entry.tensor.site:
            home = site.tensors.get(entry.tensor.name) if site else None
            if site is None or home is None or entry.tensor.site != site.name:
                raise LanguageError(f"{where}: {entry} belongs to site {entry.tensor.site} and cannot stand here")
        if home is None or entry.tensor not in _forms_of(home):
            raise LanguageError(f"{where}: {entry.tensor.name} is not declared in model {model.name}")
        if entry.tensor.kind not in kinds:
            raise LanguageError(f"{where}: the {entry.tensor.kind} {entry} cannot stand here, in {body}")
    if body.has(TimeDerivative) and site is None:
        raise LanguageError(f"{where}: a time derivative can only stand in a site action, found {body}")


def _forms_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """A declared tensor and what may stand for it: its conjugate or its response field."""
    if tensor.kind == Kind.ORDER_PARAMETER:
        return tensor, tensor.hat
    return (tensor, tensor.tilde) if tensor.kind == Kind.FIELD else (tensor,)


def _check_conjugates(action: Action) -> None:
    for tensor in action.order_parameters:
        conjugate = conjugate_entry(action.pair_terms, tensor)
        if conjugate is None:
            raise LanguageError(_missing(tensor))
        if conjugate.tensor.kind == Kind.ORDER_PARAMETER:
            _check_pair(action, tensor, conjugate)
            continue
        if action.is_multiplier(tensor) and not any(
            _conjugate_of(t, tensor) for site in action.sites for t in site.terms
        ):
            continue
        pair = [t for t in action.pair_terms if _conjugate_of(t, tensor) and t.body.has(tensor)]
        if not pair:
            raise LanguageError(_missing(tensor))
        sites = [t for site in action.sites for t in site.terms if _conjugate_of(t, tensor)]
        explicit = [t for t in action.pair_terms if _conjugate_of(t, tensor) and t not in pair]
        if not sites and not explicit:
            raise LanguageError(
                f"order parameter {tensor.name} has no observable: add {tensor.hat[tensor.indices]}*O to a site action"
            )


def _missing(tensor: Tensor) -> str:
    return (
        f"order parameter {tensor.name}: its conjugate is missing, the action needs the term "
        f"-{tensor.hat[tensor.indices]}*{tensor[tensor.indices]}"
    )


def _check_pair(action: Action, tensor: Tensor, conjugate: Entry) -> None:
    """A pair of response functions: no conjugates beside it, and a site where the partner multiplies something."""
    hats = [t for t in (*action.pair_terms, *(t for s in action.sites for t in s.terms)) if _conjugate_of(t, tensor)]
    if hats:
        raise LanguageError(
            f"order parameter {tensor.name}: its conjugate is {conjugate.tensor}, by the term that holds both, "
            f"so {tensor.hat} cannot stand in {hats[0]}"
        )
    if not any(t.body.has(conjugate.tensor) for site in action.sites for t in site.terms):
        raise LanguageError(
            f"order parameter {tensor.name} is determined by the terms that hold its conjugate {conjugate.tensor}, "
            f"but no site action holds {conjugate.tensor}"
        )


def _conjugate_of(term: Term, tensor: Tensor) -> bool:
    return any(e.tensor == tensor.hat for e in entries_of(term.body, Kind.CONJUGATE))


def _check_sizes(action: Action) -> None:
    known = {i.axis for d in action.declared.data for i in d.tensor.indices}
    known |= {part for axis in known for part in axis.parts}
    for axis in action.declared.axes:
        if not axis.is_time and not axis.size.isdigit() and axis not in known:
            raise LanguageError(
                f"axis '{axis.name}': no data has an index on it, so its size {axis.size} is unknown; "
                f"declare it with a number, size=3"
            )
