"""`linearise`: how every quantity of a program changes, to first order, when the path weights change.

A network of width N is a sample of N single-site paths: its order parameters are averages with fluctuating weights.
To leading order the fluctuations are those of the linear response to a change w -> w (1 + psi) of the weights, and
N Cov = sum over orthonormal functions psi_r of the responses (theory: (I - D)^-1 kappa (I - D)^-T with kappa factored).
"""

from dataclasses import replace
from itertools import combinations_with_replacement

from dmftsym.derivation.derive import Derivation
from dmftsym.derivation.functional import variation
from dmftsym.derivation.hessian import ExplicitNoise, explicit_noise
from dmftsym.derivation.jumps import has_jump
from dmftsym.errors import LoweringError
from dmftsym.language.matrices import LargestEigenvalue
from dmftsym.language.symbols import Index, Kind, Tensor
from dmftsym.language.terms import Term, as_expression, entries_of
from dmftsym.linearise.adjoint import transpose
from dmftsym.linearise.feedback import Feedback, find_feedback, is_function
from dmftsym.linearise.records import Fluctuations, Influences, TangentPrograms
from dmftsym.linearise.tangent import tangent_of, timed_nodes
from dmftsym.lowering.clock import on_clock
from dmftsym.lowering.held import Asked
from dmftsym.lowering.lower import Lowered, lower, program_of
from dmftsym.lowering.schemes import BLEND, REACH, Scheme
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Buffer, Role
from dmftsym.program.fusion import CHANGES, UPDATES, LoopNames, fuse, gathered, history_arrays
from dmftsym.program.nodes import Node, statements_of
from dmftsym.program.program import Program
from dmftsym.program.schedule import Schedule
from dmftsym.program.statements import Contract, Evaluate, Sketch


def linearise(
    equations: Derivation, scheme: Scheme, requested: tuple[str, ...], mean: Program | None = None
) -> tuple[Fluctuations | Influences | None, Feedback | None]:
    """The tangent of a model on its time grid, for the covariances of the requested quantities; None if there are none.

    `mean` is the program of the mean solution, whose normals it shares.
    Raises `LoweringError` for a quantity that does not fluctuate or is not differentiable. Cost: linear in the size
    of the program.
    """
    if not requested:
        return None, None
    requested = tuple(dict.fromkeys(requested))
    _check_result_names(requested)
    noise = _explicit_noise(equations)
    read = tuple(dict.fromkeys(name for n in noise for name in n.reads))
    lowered = _lowered(equations, scheme, (*requested, *read), mean)
    if set(lowered.builder.nodes) != {n.name for n in lowered.schedule.nodes}:
        raise LoweringError(
            f"covariances of {', '.join(requested)}: some quantities wait for parts of each other within a step "
            f"(`--show schedule` lists them); only their means are available"
        )
    noisy = tuple(dict.fromkeys(n.first.tensor.name for n in noise))
    feedback = find_feedback(lowered, requested, noisy)
    noise = tuple(n for n in noise if {n.first.tensor.name, n.second.tensor.name} <= set(feedback.active))
    _check_differentiable(lowered, requested)
    _check_responses(lowered, feedback)
    program = _with_shared_normals(program_of(lowered), mean)
    if _needs_influences(lowered, program):
        if scheme.passes > 1:
            raise LoweringError(
                f"covariances of {', '.join(requested)}: those of models with response functions or linear sites need "
                f"scheme euler"
            )
        return replace(transpose(lowered, program, feedback, requested), noise=noise), feedback
    writer = ProgramWriter(lowered, feedback.active, requested, noisy)
    tangent = writer.program(program)
    direct = (
        ProgramWriter(lowered, feedback.following, requested, noisy).program(program) if feedback.observed else None
    )
    heads = {t.name: t for t in program.facts.outputs}
    heads |= {name: lowered.builder.buffers[name].tensor for name in feedback.averages}
    varied = lambda names: tuple((heads[name], writer.tangent.varied_tensor(heads[name])) for name in names)
    following = tuple(name for name in requested if name in feedback.following)
    programs = TangentPrograms(
        plain=program,
        tangent=tangent,
        direct=direct,
        sketch=writer.sketch_program(program, feedback),
        chain=writer.chain_program(program, feedback),
    )
    result = Fluctuations(
        programs=programs,
        column=writer.tangent.column,
        covariances=varied(requested),
        averages=varied(feedback.averages),
        following=following,
        jumps=tuple(writer.tangent.jumping),
        noise=noise,
    )
    return result, feedback


def _lowered(equations: Derivation, scheme: Scheme, wanted: tuple[str, ...], mean: Program | None) -> Lowered:
    """The quantities that the covariances need; matrices are held as in the mean solution, whose normals are shared."""
    held = mean is None or bool(mean.sampling.directions)
    return lower(equations, scheme, Asked(wanted=wanted, fluctuating=True, kicked=True, matrices=held))


def _with_shared_normals(program: Program, mean: Program | None) -> Program:
    """The program with sources that the mean solution draws together with others taken from there.

    Normals are made for the sources of the mean solution, of which a covariance may need a part. Static sources are
    drawn whole, others take as many of the normals as they need.
    """
    groups = []
    for group in program.sampling.groups:
        own = {m.tensor for m in group.members}
        others = [g for g in (mean.sampling.groups if mean else ()) if g.name != group.name]
        whole = [g for g in others if own < {m.tensor for m in g.members}]
        if whole and group.static:
            group = whole[0]
        elif whole:
            group = replace(group, shares=whole[0].name)
        groups.append(group)
    return replace(program, sampling=replace(program.sampling, groups=tuple(dict.fromkeys(groups))))


def _explicit_noise(equations: Derivation) -> tuple[ExplicitNoise, ...]:
    """What explicit terms of second order in conjugates add to κ; raises `LoweringError` where it is not available."""
    for site in equations.action.sites:
        for term in site.terms:
            if len([f for f in term.factors if entries_of(f, Kind.CONJUGATE)]) > 1:
                raise LoweringError(
                    f"covariances: the term {term} of site {site.name} is of second order in conjugates; write its "
                    f"explicit part, 1/2 q.hat M q.hat, in the action of the model"
                )
    time = equations.action.time
    timed = lambda term: replace(term, body=on_clock(term.body, time))
    noise = tuple(
        replace(n, terms=tuple(map(timed, n.terms))) for n in explicit_noise(equations.action, equations.saddle_point)
    )
    for part in noise:
        if max(len(e.tensor.time_slots) for e in (part.first, part.second)) > 1:
            raise LoweringError(
                f"covariances: explicit terms of second order in conjugates are available for order parameters with "
                f"one time, not for {part.first} and {part.second}"
            )
    return noise


def _needs_influences(lowered: Lowered, program: Program) -> bool:
    """Whether a sweep backward in time is the way: for memories of random matrices, and where sites close exactly."""
    if program.sampling.directions or any(g.basis for g in program.sampling.groups):
        return True
    return bool(lowered.closure.sites) and any(g.evolving or g.kicks for g in program.sampling.groups)


def _check_result_names(requested: tuple[str, ...]) -> None:
    """Every covariance needs a name of its own."""
    seen: dict[str, tuple[str, str]] = {}
    for pair in combinations_with_replacement(requested, 2):
        name = f"cov_{'_'.join(pair)}"
        if name in seen:
            raise LoweringError(
                f"{name} would name the covariance of {' and '.join(seen[name])} and that of {' and '.join(pair)}: "
                f"ask for one at a time"
            )
        seen[name] = pair


def _check_responses(lowered: Lowered, feedback: Feedback) -> None:
    """A response function fluctuates by more than the change of its tangents along the paths."""
    for response in lowered.responses:
        name = response.tensor.name
        if name in feedback.requested:
            raise LoweringError(
                f"covariance of '{name}': '{name}' is a response function; its fluctuations cannot be measured in one "
                f"network; ask for quantities that can be observed"
            )
        if name in feedback.active and response.site not in lowered.closure.sites:
            raise LoweringError(
                f"covariances of {', '.join(feedback.requested)} need those of the response function {name}, which are "
                f"available where its site is linear; {response.site} is not: {lowered.closure.reason(response.site)}"
            )


def _check_differentiable(lowered: Lowered, requested: tuple[str, ...]) -> None:
    """A covariance by the chain rule needs a derivative: functions that jump have none."""
    functions = {n.name: n for n in timed_nodes(lowered.schedule) if is_function(n)}
    for name in requested:
        queue, seen = [name], {name}
        while queue:
            node = functions.get(queue.pop())
            for statement in node.statements if node else ():
                if isinstance(statement, Evaluate) and any(has_jump(t.body) for t in statement.terms):
                    raise LoweringError(f"covariance of '{name}': {statement.equation} jumps and is not differentiable")
            new = [read for read, _ in (node.reads if node else ()) if read not in seen]
            seen |= set(new)
            queue += new


class ProgramWriter:
    """Puts together the programs whose sweeps give the covariances."""

    def __init__(
        self, lowered: Lowered, active: tuple[str, ...], requested: tuple[str, ...], noisy: tuple[str, ...] = ()
    ):
        self.lowered, self.active = lowered, set(active)
        self.tangent = tangent_of(lowered, active, noisy)
        self.requested = requested
        self.excess: dict[str, Tensor] = {}

    def program(self, program: Program) -> Program:
        """The tangent program: a step of the program itself, then the first-order change of that step."""
        plain = self.lowered.schedule
        moved = self.tangent.schedule(plain)
        seconds = self._second_order()
        assembled = self._assembled(program, moved, self.tangent.buffers)
        in_place = {b.tensor.name for b in assembled.sweep.buffers if b.site and not b.history}
        first, last, names = len(plain.step), len(plain.epilogue), LoopNames()
        changes = lambda nodes: fuse(statements_of(gathered(nodes, in_place)), program.grid.now, CHANGES, names)
        own = fuse(statements_of(moved.step[:first]), program.grid.now, UPDATES)
        return assembled.with_sweep(
            step=(*own, *changes(moved.step[first:]), *seconds),
            epilogue=(*statements_of(moved.epilogue[:last]), *changes(moved.epilogue[last:])),
        )

    def _second_order(self) -> tuple[Evaluate, ...]:
        """What fluctuations add to the means of requested functions: half the second derivative times the covariance.

        The shift of the averages themselves, of the same order, is not part of it.
        """
        wanted = set(self.requested)
        functions = [n for n in timed_nodes(self.lowered.schedule) if n.name in self.active and is_function(n)]
        for node in reversed(functions):
            if node.name in wanted:
                wanted |= {name for name, _ in node.reads}
        result = []
        for node in (n for n in functions if n.name in wanted):
            statements = [s for s in node.statements if isinstance(s, Evaluate)]
            if any(t.body.has(LargestEigenvalue) for s in statements for t in s.terms):
                continue
            tensor = statements[0].target.tensor
            excess = Tensor(f"excess_{tensor.name}", Kind.DEFINITION, tensor.indices)
            found = [(s, self._excess_terms(s)) for s in statements]
            if any(terms for _, terms in found):
                self.excess[tensor.name] = excess
                self.tangent.buffers[excess.name] = Buffer(excess, Role.EXCESS, of=tensor)
                for s, terms in found:
                    target = excess[s.target.indices]
                    result.append(Evaluate(target, terms, f"{target} = {as_expression(terms)}", s.constraints))
        return tuple(result)

    def _excess_terms(self, statement: Evaluate) -> tuple[Term, ...]:
        twice = self.tangent.vary(self.tangent.vary(statement.terms))
        half = tuple(Term(t.body / 2, (*t.bound, self.tangent.column), t.constraints) for t in twice)
        of = lambda e: self.excess[e.tensor.name][e.indices] if e.tensor.name in self.excess else None
        return (*half, *variation(statement.terms, of))

    def chain_program(self, program: Program, feedback: Feedback) -> Program:
        """The program that computes functions of given averages, and their changes from those of the averages."""
        schedule = self.lowered.schedule
        functions = [n for n in timed_nodes(schedule) if is_function(n)]
        if program.grid.passes > 1:
            functions = self._following(functions)
        changes = [self.tangent.node(n) for n in functions if n.name in self.active]
        buffers: dict[str, Buffer] = {}
        for name in feedback.averages:
            tensor = self.lowered.builder.buffers[name].tensor
            varied = self.tangent.varied_tensor(tensor)
            buffers[name] = Buffer(tensor, Role.GIVEN)
            buffers[varied.name] = Buffer(varied, Role.GIVEN, of=tensor)
        for node in (*functions, *changes):
            role = Role.VARIATION if node in changes else Role.FUNCTION
            buffers |= {t.name: Buffer(t, role) for s in node.statements for t in s.writes}
        buffers |= {t.name: Buffer(t, Role.EXCESS) for t in self.excess.values()}
        buffers |= {b.tensor.name: b for b in self.lowered.builder.integrals.buffers()}
        buffers |= {name: b for name, b in self.lowered.builder.buffers.items() if b.role is Role.CLOCK}
        statements = statements_of((*functions, *changes))
        chain = program.with_axis(COLUMNS).with_sweep(
            buffers=tuple(buffers.values()), step=(*statements, *self._second_order()), epilogue=()
        )
        return replace(
            chain,
            grid=replace(chain.grid, passes=1),
            sampling=replace(chain.sampling, groups=(), starts=(), sites=(), affine=()),
        )

    def _following(self, functions: list[Node]) -> list[Node]:
        """The functions that the requested ones need; those of the passes of a step cannot follow afterwards."""
        wanted = set(self.requested)
        needed: list[Node] = []
        for node in reversed(functions):
            if node.name in wanted:
                wanted |= {name for name, _ in node.reads}
                needed.insert(0, node)
        for node in needed:
            bodies = [t.body for s in node.statements if isinstance(s, Evaluate) for t in s.terms]
            if any(b.has(REACH, BLEND) for b in bodies):
                raise LoweringError(
                    f"covariances of {', '.join(self.requested)}: {node.label} is found pass by pass; use scheme euler"
                )
        return needed

    def sketch_program(self, program: Program, feedback: Feedback) -> Program:
        """The program that adds up random combinations of the observables of all fluctuating averages."""
        sketches: list[Sketch] = []
        buffers: dict[str, Buffer] = {}
        for node in timed_nodes(self.lowered.schedule):
            for statement in node.statements if node.name in feedback.averages else ():
                if isinstance(statement, Contract) and statement.pieces:
                    for sketch in self._sketches(statement, node.name in feedback.closed):
                        buffers[sketch.target.tensor.name] = Buffer(sketch.target.tensor, Role.SKETCH)
                        sketches.append(sketch)
        plain = self.lowered.schedule
        node = Node("sketch", "random combinations", tuple(sketches), (), auxiliary=True)
        schedule = Schedule(plain.constants, (*plain.step, node), plain.epilogue)
        if program.grid.passes > 1:  # the corrected values are what scatters
            schedule = Schedule(plain.constants, plain.step, (node, *plain.epilogue))
        return self._assembled(program, schedule, buffers)

    def _sketches(self, contract: Contract, feeds_back: bool) -> list[Sketch]:
        free = tuple(i for i in contract.target.indices if isinstance(i, Index) and i != self.tangent.now)
        omega = Tensor(f"omega_{contract.target.tensor.name}", Kind.DEFINITION, (*free, self.tangent.column))
        result = []
        for site in dict.fromkeys(p.site for p in contract.pieces):
            stem = "sketch" if feeds_back else "observed"
            target = Tensor(f"{stem}_{site}", Kind.DEFINITION, (self.tangent.column,), site)
            pieces = tuple(
                replace(p, coefficient=p.coefficient * omega[(*free, self.tangent.column)])
                for p in contract.pieces
                if p.site == site
            )
            line = f"random combinations of the observable of {contract.target}"
            result.append(Sketch(target[self.tangent.column], omega, pieces, line, feeds_back))
        return result

    def _assembled(self, program: Program, schedule: Schedule, extra: dict[str, Buffer]) -> Program:
        everything = self.lowered.builder.buffers | extra
        history = history_arrays(schedule, everything)
        return program.with_axis(COLUMNS).with_sweep(
            buffers=tuple(replace(b, history=name in history) for name, b in everything.items()),
            step=fuse(statements_of(schedule.step), program.grid.now, UPDATES),
            epilogue=statements_of(schedule.epilogue),
        )
