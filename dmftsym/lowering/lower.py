"""`lower`: equations on a time grid, live quantities only, in causal order, as a `Program`."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sympy import Abs, Add, Expr, Heaviside, Integer, Max, Min, Piecewise, ceiling, floor, sign

from dmftsym.derivation.averages import SourceDerivative
from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.process import EffectiveProcess, FieldEquation
from dmftsym.derivation.responses import ResponseFunction, felt_by, separate_responses
from dmftsym.derivation.saddle_point import SaddlePoint
from dmftsym.derivation.symmetry import symmetric_tensors
from dmftsym.errors import LoweringError
from dmftsym.language.action import Action, Start
from dmftsym.language.symbols import Kind, Tensor
from dmftsym.language.terms import as_expression, entries_of, substitute_activations
from dmftsym.lowering.acausal import explain_by_missing_past
from dmftsym.lowering.clock import CLOCK, clock, with_clock
from dmftsym.lowering.constraints import ConstraintWriter, reads_of_constraints, split_multiplier
from dmftsym.lowering.equal_time import equal_time_tensor, restrict_to_equal_time
from dmftsym.lowering.gaussian import Closure
from dmftsym.lowering.held import Asked, add_products, closed_or_held, without_direct
from dmftsym.lowering.kicks import with_kicks
from dmftsym.lowering.liveness import Liveness, find_live
from dmftsym.lowering.memory import add_recalls, find_recalls, reads_of_recalls
from dmftsym.lowering.motion import add_motion, rate_of, waits_of
from dmftsym.lowering.passes import check_passes
from dmftsym.lowering.quantities import QuantityBuilder
from dmftsym.lowering.responses import add_responses, reads_of_responses
from dmftsym.lowering.schemes import Scheme
from dmftsym.lowering.sources import directions_of, group_sources
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.fusion import UPDATES, fuse, history_arrays
from dmftsym.program.matrices import Directions
from dmftsym.program.nodes import Node, closure, statements_of
from dmftsym.program.program import Facts, Grid, Program, Sampling, Sweep
from dmftsym.program.schedule import InstantaneousLoop, Schedule, build_causal_schedule
from dmftsym.program.sources import SourceGroup
from dmftsym.program.statements import Assign, Draw, Evaluate


@dataclass(frozen=True)
class Draws:
    """What is random in a sweep: groups of sources, initial values, and the images of random matrices."""

    groups: tuple[SourceGroup, ...]
    starts: tuple[Start, ...]
    directions: tuple[Directions, ...]


@dataclass(frozen=True)
class Lowered:
    """The quantities of a model on a time grid, in causal order: what `program_of` and `linearise` start from."""

    action: Action
    scheme: Scheme
    builder: QuantityBuilder
    draws: Draws
    schedule: Schedule
    liveness: Liveness
    equations: tuple[tuple[Tensor, str], ...]
    closure: Closure
    responses: tuple[ResponseFunction, ...]


def lower(equations: Derivation, scheme: Scheme, asked: Asked | tuple[str, ...]) -> Lowered:
    """See `_lower`; where an integral up to now would need itself, its upper end is taken from the pass before."""
    asked = asked if isinstance(asked, Asked) else Asked(wanted=asked)
    try:
        return _lower(equations, scheme, asked)
    except InstantaneousLoop:
        if scheme.passes == 1:
            raise
        return _lower(equations, scheme, replace(asked, explicit=True))


def _lower(equations: Derivation, scheme: Scheme, asked: Asked) -> Lowered:
    """Discretise, prune, split into contractions and elementwise updates, and order the equations of a model.

    Raises `LoweringError` for acausal terms, instantaneous loops and averages of response fields, in the user's words.
    """
    _check_conjugates_vanish(equations)
    check_passes(equations, scheme)
    written, _ = separate_responses(equations.saddle_point.equations)
    untimed = replace(equations, saddle_point=replace(equations.saddle_point, equations=written))
    timed = with_clock(untimed)
    equations, closure, held = closed_or_held(timed, scheme, asked)
    action, saddle = equations.action, equations.saddle_point
    processes, recalls = find_recalls(equations)
    felt = {r.tensor.name: felt_by(r, equations.process) for r in equations.responses}
    more = reads_of_recalls(recalls, processes) | reads_of_responses(felt) | reads_of_constraints(equations)
    liveness = find_live(action, processes, saddle, asked.wanted, more | (held.reads() if held else {}))
    # a correction has felt the sources of its own time
    drawn = tuple(replace(r, instant=r.instant or scheme.passes > 1) for r in recalls if r.tensor.name in liveness.live)
    of_processes = held.lines() if held else tuple(line for p in processes for line in p.equation_lines())
    lines = (*saddle.equation_lines(), *of_processes)
    saddle, sites = restrict_to_equal_time(liveness.equal_time, saddle, processes)
    responses = tuple(r for r in equations.responses if r.tensor.name in liveness.live)
    sites = _with_kicks(sites, responses, action, scheme, closure) if asked.kicked else sites
    builder = QuantityBuilder(action, scheme, equations.causal, closure.sites, asked.explicit)
    if timed != untimed:
        builder.buffers[CLOCK] = Buffer(clock(action.time), Role.CLOCK)
    groups = tuple(g for p in sites for g in group_sources(action, p, saddle, liveness.live, drawn))
    for group in groups:
        _add_draw(builder, group, scheme)
    add_recalls(builder, drawn, groups)
    constraints = ConstraintWriter(builder, equations, scheme)
    starts = _add_sites(builder, without_direct(sites, held) if held else sites, liveness, constraints)
    if held:
        add_products(builder, held, liveness.live, scheme)
    for constraint in saddle.constraints:
        if constraint.multiplier.name in liveness.live:
            constraints.add_multiplier(constraint)
    _add_order_parameters(builder, action, saddle, liveness, {r.tensor.name for r in equations.responses})
    _add_definitions(builder, saddle, liveness)
    known, felt = list(builder.nodes), {name: found for name, found in felt.items() if name in liveness.live}
    # what changes by an impulse may be read by nothing else; its updates are there until their changes are
    unread = {x.name for found in felt.values() for x in found} - set(liveness.live)
    for process in sites:
        _add_site(builder, process, unread, scheme, constraints)
    add_responses(builder, equations, recalls, felt, scheme)
    schedule = _schedule(builder, _needed(builder, [*known, *felt]), scheme)
    return Lowered(
        action=action,
        scheme=scheme,
        builder=builder,
        draws=Draws(groups, starts, directions_of(action, held, groups, liveness.live) if held else ()),
        schedule=schedule,
        liveness=liveness,
        equations=lines,
        closure=closure,
        responses=responses,
    )


def _with_kicks(sites, responses, action: Action, scheme: Scheme, closure: Closure) -> tuple[EffectiveProcess, ...]:
    """The processes with impulses added to the sources of sites that are closed exactly."""
    impulse = scheme.white_variance if action.is_continuous else Integer(1)
    return tuple(with_kicks(p, responses, impulse) if p.site in closure.sites else p for p in sites)


def _add_sites(builder: QuantityBuilder, sites, liveness: Liveness, constraints: ConstraintWriter) -> tuple[Start, ...]:
    added = (_add_site(builder, process, liveness.live, constraints.scheme, constraints) for process in sites)
    return tuple(start for starts in added for start in starts)


def _schedule(builder: QuantityBuilder, nodes: dict[str, Node], scheme: Scheme) -> Schedule:
    if scheme.passes > 1:  # what moves comes first, so that a value and its base share a loop
        nodes = dict(sorted(nodes.items(), key=lambda item: not item[1].starts))
    return build_causal_schedule(nodes, builder.now)


def _check_conjugates_vanish(equations: Derivation) -> None:
    """Site averages are taken with weight one: right only if no conjugate tilts them."""
    for conjugate in equations.saddle_point.conjugates:
        for term in conjugate.terms:
            if not term.vanishes:
                explain_by_missing_past(equations)
                raise LoweringError(
                    f"the conjugate {conjugate.conjugate} does not vanish at the saddle point, its equation holds "
                    f"{term.expression} ({term.reason}); only actions whose conjugates vanish can be solved"
                )


def _add_draw(builder: QuantityBuilder, group: SourceGroup, scheme: Scheme) -> None:
    if group.static:
        return
    lines = [f"<{b.left} {b.right}> = {as_expression(b.terms)}" for b in group.blocks]
    if group.white:
        blocks = tuple(
            replace(
                b, terms=tuple(t.times(scheme.white_variance if builder.action.is_continuous else 1) for t in b.terms)
            )
            for b in group.blocks
        )
        group = replace(group, blocks=blocks)
    builder.add_draw(group, "; ".join(lines))


def _needed(builder: QuantityBuilder, names: list[str]) -> dict[str, Node]:
    """The nodes of these names and of all that they read; others are taken away."""
    needed = closure(names, {name: [read for read, _ in node.reads] for name, node in builder.nodes.items()})
    for name in [n for n in builder.nodes if n not in needed]:
        del builder.nodes[name], builder.buffers[name]
    return builder.nodes


def _add_site(
    builder: QuantityBuilder,
    process: EffectiveProcess,
    names: Collection[str],
    scheme: Scheme,
    constraints: ConstraintWriter,
) -> list[Start]:
    now, starts = builder.now, []
    given = {s.field.name: s for s in process.starts}
    for tensor in [*(e.field for e in process.equations), *(d.tensor for d in process.definitions)]:
        times = [tensor.indices[k] for k in tensor.time_slots]
        if times != [now]:
            raise LoweringError(f"{tensor[tensor.indices]} of site {process.site}: declare it with the one time {now}")
    for equation in process.equations:
        if equation.field.name not in names:
            continue
        own, strength, multiplier = split_multiplier(
            equation, {c.multiplier for c in constraints.equations.saddle_point.constraints}
        )
        right = builder.lower_terms(own.terms, process.site, equation.field.name)
        right += Add(*[s.amplitude * s.tensor[s.tensor.indices] for s in equation.sources])
        if multiplier is not None:
            strength_value = builder.lower_terms(strength, process.site, equation.field.name)
            right = constraints.add_field(equation.field, right, strength_value, multiplier, equation.derivative)
        start = given.get(equation.field.name)
        lagged = _add_field(builder, equation, right, scheme, start is not None)
        if start and not lagged:
            raise LoweringError(
                f"field {equation.field} has an initial value but its equation does not continue from the previous time"
            )
        if start or equation.derivative:
            starts.append(start or Start(equation.field, Integer(0), Integer(0)))
    for definition in process.definitions:
        if definition.tensor.name in names:
            value = builder.lower_terms(definition.terms, process.site, definition.tensor.name)
            line = f"{definition.tensor[definition.tensor.indices]} = {as_expression(definition.terms)}"
            builder.add_site_array(definition.tensor, Role.DEFINITION, value, line)
    return starts


def _add_field(builder: QuantityBuilder, equation: FieldEquation, right: Expr, scheme: Scheme, given: bool) -> bool:
    """Add the update of a field; whether it continues from the previous time (from a `given` initial value, or 0)."""
    field, now = equation.field, builder.now
    line = f"{equation.left_side()} = {equation.right_side()}"
    if not equation.derivative:
        lagged = any(t == now - 1 for e in entries_of(right) for t in e.times)
        builder.add_site_array(field, Role.FIELD, right, line, starts=lagged and given)
        return lagged
    rate = rate_of(field)
    builder.add_site_array(rate, Role.RATE, right, line, after=waits_of(field, scheme))
    add_motion(builder, scheme, field)
    return True


def _add_definitions(builder: QuantityBuilder, saddle: SaddlePoint, liveness: Liveness) -> None:
    for definition in saddle.definitions:
        if definition.tensor.name in liveness.live:
            line = f"{definition.tensor[definition.tensor.indices]} = {as_expression(definition.terms)}"
            builder.add_function(definition.tensor, definition.terms, line)


def _add_order_parameters(
    builder: QuantityBuilder, action: Action, saddle: SaddlePoint, liveness: Liveness, responses: set[str]
) -> None:
    symmetric = symmetric_tensors(action)
    live = {
        *liveness.live,
        *(equal_time_tensor(q).name for q in action.order_parameters if q.name in liveness.equal_time),
    }
    for equation in saddle.equations:
        name = equation.tensor.name
        if name not in live or name in responses:
            continue
        right = equation.right_side()
        if right.has(SourceDerivative):
            raise LoweringError(
                f"order parameter {name} = {right} is an average with response fields, but no response function of one "
                f"source with two times; only those can be solved"
            )
        line = f"{equation.tensor[equation.tensor.indices]} = {right}"
        if not equation.averages:
            builder.add_function(equation.tensor, equation.explicit, line)
            continue
        builder.add_average(equation, line, equation.tensor in symmetric)


def program_of(lowered: Lowered) -> Program:
    """The program of a lowered model: its statements in causal order, kernels fused, histories where needed."""
    action, scheme, builder, schedule = lowered.action, lowered.scheme, lowered.builder, lowered.schedule
    constants = tuple(s for n in schedule.constants for s in n.statements if isinstance(s, Evaluate))
    history = history_arrays(schedule, builder.buffers)
    buffers = tuple(replace(b, history=name in history) for name, b in builder.buffers.items())
    heads = {q.name: q for q in action.order_parameters} | {d.tensor.name: d.tensor for d in action.definitions}
    symmetric = {tensor.name for tensor in symmetric_tensors(action) if tensor.kind == Kind.DATA}
    facts = Facts(
        name=action.name,
        description=action.declared.description,
        axes=action.declared.axes,
        parameters=action.declared.parameters,
        data=action.declared.data,
        symmetric_data=tuple(sorted(symmetric)),
        outputs=tuple(heads[name] for name in lowered.liveness.outputs),
        equations=_computed_equations(lowered, buffers),
    )
    grid = Grid(
        now=builder.now,
        continuous=action.is_continuous,
        scheme=scheme.name if action.is_continuous else "exact discrete time",
        time_step=action.declared.time_step if action.is_continuous else 1.0,
        order=scheme.order if action.is_continuous else None,
        passes=scheme.passes,
    )
    sampling = Sampling(
        sites=tuple(s.name for s in action.sites),
        weights=tuple((s.name, s.weight) for s in action.sites),
        groups=_drawn_groups(lowered.draws.groups, schedule),
        starts=lowered.draws.starts,
        closure=lowered.closure.reasons,
        affine=lowered.closure.affine,
        smooth=_is_smooth(builder),
        directions=lowered.draws.directions,
    )
    sweep = Sweep(
        buffers=buffers,
        constants=constants,
        step=fuse(statements_of(schedule.step), builder.now, UPDATES),
        epilogue=statements_of(schedule.epilogue),
    )
    return Program(facts=facts, grid=grid, sampling=sampling, sweep=sweep)


def _computed_equations(lowered: Lowered, buffers: tuple[Buffer, ...]) -> tuple[str, ...]:
    """The equations of what is computed, each once."""
    names = {b.tensor.name for b in buffers} | {name for n in lowered.schedule.constants for name in n.writes}
    names |= {m.tensor.name for group in lowered.draws.groups for m in group.members} | {*lowered.liveness.equal_time}
    return tuple(dict.fromkeys(line for tensor, line in lowered.equations if tensor.name in names))


def _drawn_groups(groups, schedule: Schedule) -> tuple[SourceGroup, ...]:
    """The groups as they are drawn: white ones carry their discretised variance."""
    drawn = {s.group.name: s.group for n in schedule.step for s in n.statements[:1] if isinstance(s, Draw)}
    return tuple(drawn.get(g.name, g) for g in groups)


def _is_smooth(builder: QuantityBuilder) -> bool:
    kinked = (Max, Min, Heaviside, Piecewise, Abs, sign, floor, ceiling)
    bodies = [s.expression for n in builder.nodes.values() for s in n.statements if isinstance(s, Assign)]
    return not any(substitute_activations(b).has(*kinked) for b in bodies)
