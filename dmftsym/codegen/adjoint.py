"""The sweep backward in time as source code, and the sweep that records what it needs."""

from dmftsym.codegen.adjoint_matrices import adjoint_lines, adjoint_matrices
from dmftsym.codegen.code_lines import of_state
from dmftsym.codegen.influences import influence_tables
from dmftsym.codegen.joined import joined_columns
from dmftsym.codegen.places import REST, length, size_code
from dmftsym.codegen.sources import normals_of
from dmftsym.codegen.statements import StatementWriter
from dmftsym.codegen.storage import adjoint_amounts, made
from dmftsym.codegen.sweeps import (
    ARGUMENTS,
    held_code,
    is_read,
    made_together,
    names_of_parts,
    side_by_side,
    sizes_and_weights,
    sweep_code,
    taken_from,
)
from dmftsym.codegen.tree import Einsum, Shaped
from dmftsym.language.symbols import Entry
from dmftsym.linearise.records import Influences
from dmftsym.program.axes import COLUMNS
from dmftsym.program.buffers import Role
from dmftsym.program.sources import SourceGroup, size_of
from dmftsym.program.statements import (
    AdjointBasis,
    AdjointDecay,
    AdjointDraw,
    AdjointLearning,
    AdjointProduct,
    AdjointRecall,
    Influence,
    RecallMemory,
    Statement,
)
from dmftsym.program.storage import Stored, recalls_of, storage_of, storage_of_adjoint_noise, storage_of_fresh

RECORD_NOTES = ("The sweep of all that the covariances need; it returns every array with all its times.",)


def influence_code(influences: Influences, writer: StatementWriter, sweeps: list[dict]) -> dict:
    """Add the recording sweep to `sweeps`, its kernels to the writer; return the keys of the templates."""
    common = tuple(a for a in ARGUMENTS if a != "progress")
    record = influences.record
    results = {}
    for array in record.sweep.buffers:
        if array.tensor.time_slots and (array.history or not array.site):
            results[array.tensor.name] = f"{array.tensor.name}_history" if array.site else array.tensor.name
    results |= {d.matrix.name: d.matrix.name for d in record.sampling.directions}
    results |= {f"noise_{g.name}": f"noise_{g.name}" for g in record.sampling.groups if g.evolving}
    printer = StatementWriter(record, writer.kernels, "record", writer.target)
    sweeps.append(sweep_code(record, printer, "record_sweep", common, RECORD_NOTES, results))
    return {"adjoint": _adjoint_sweep(influences, writer), "influencing": influence_tables(influences)}


def _adjoint_sweep(influences: Influences, writer: StatementWriter) -> dict:
    program = influences.adjoint
    printer = AdjointPrinter(influences, StatementWriter(program, writer.kernels, "adjoint", writer.target))
    step = [printer.lines(s) for s in program.sweep.step]
    after, results = printer.after(), printer.results() + _drives(influences)
    views = printer.views(step)
    held = [*after, results]
    state = held_code(
        program, printer.allocations([*views, *step, held]), [*views, *step], ["steps", "dt", "closed", "last"], held
    )
    return {
        **names_of_parts("adjoint_sweep"),
        **state,
        "views": [line for block in views for line in block],
        "joined": joined_columns(influences),
        "amounts": adjoint_amounts("adjoint_sweep", program, influences.duals),
        "step": step,
        "after": of_state("\n".join(after), state["names"]).split("\n"),
        "results": of_state(results, state["names"]),
    }


def _drives(influences: Influences) -> str:
    """The derivatives with respect to order parameters that have noise of their own, as a result of the sweep."""
    names = dict.fromkeys(n.first.tensor.name for n in influences.noise)
    table = ", ".join(f'"{name}": adj_{name}' for name in names)
    return f", {{{table}}}" if names else ""


class AdjointPrinter:
    """Writes the statements of the backward sweep."""

    def __init__(self, influences: Influences, printer: StatementWriter):
        self.influences, self.printer, self.xp = influences, printer, printer.xp
        self.program, self.now = influences.adjoint, influences.adjoint.grid.now.name
        self.influenced = [a.site for a in self.program.sweep.buffers if a.role is Role.INFLUENCE]
        self.kicks = [b.of.name for b in self.program.sweep.buffers if b.role is Role.PAIRING and b.of]
        self.stored = {a.at_step or a.name: a for a in storage_of(self.program)}
        self.closed = [site for site, reason in self.program.sampling.closure if not reason]

    def lines(self, statement: Statement) -> list[str]:
        """The source lines of one statement."""
        match statement:
            case Influence():
                return self._influence(statement)
            case AdjointRecall():
                return self._recall(statement)
            case AdjointBasis():
                return self._basis(statement)
            case AdjointDraw():
                return self._draw(statement)
            case AdjointProduct() | AdjointLearning() | AdjointDecay():
                return adjoint_lines(statement, self.printer.matrices, self.program)
        return self.printer.lines(statement)

    # --- arrays -----------------------------------------------------------------------------------

    def results(self) -> str:
        """The influence functions by site, and the pairings by kick."""
        influences = ", ".join(f'"{s}": influence_{s}' for s in self.influenced)
        pairings = ", ".join(f'"{kick}": pairing_{kick}' for kick in self.kicks)
        return f"{{{influences}}}, {{{pairings}}}"

    def views(self, step: list[list[str]]) -> list[list[str]]:
        """Blocks of lines that every step backward starts with: rows of arrays with all times, and zeros."""
        live = [a for a in self.stored.values() if is_read(a.at_step or a.name, step)]
        rows = {a.at_step: f"{a.name}[{self.now}]" for a in live if a.at_step}
        zeros = [a.name for a in live if a.site and a.role is Role.ADJOINT and not a.at_step]
        return [side_by_side(rows), [f"{name}[...] = 0.0" for name in zeros]]

    def allocations(self, code: list[list[str]]) -> list[list[str]]:
        """Blocks of lines that allocate the adjoints, as far as the other `code` reads them."""
        blocks = sizes_and_weights(self.program, self.printer)
        for group in (g for g in self.program.sampling.groups if g.evolving):
            blocks += self._group(group)
        blocks += [self._line(storage_of_fresh(*pair)) for pair in self.influences.duals]
        live = [a for a in self.stored.values() if is_read(a.name, code)]
        given = {a.name: a.at_step or a.name for a in live if a.role is Role.GIVEN}
        own = [a for a in live if a.role is not Role.GIVEN]
        special = {a.name: self._special(a) for a in own}
        blocks += [[line] for line in taken_from("recorded", given)]
        blocks += made_together([a for a in own if not special[a.name]], self.program, self.printer)
        blocks += [[line] for lines in special.values() for line in lines]
        return [*blocks, *([line] for line in adjoint_matrices(self.program))]

    def _special(self, array: Stored) -> list[str]:
        """The lines that make an array which does not begin with zeros: seeds, and influences of closed sites."""
        name, site = array.name, array.site
        if not site:
            return self._seed(name)
        if array.role is not Role.INFLUENCE or site not in self.closed:
            return []
        more = f'(paths_{site},) if "{site}" in closed else ()'
        lists = f"first_{site}, second_{site} = [], []"
        return [f"{name} = {self.xp}.zeros(({', '.join(array.shape)}) + ({more}))", lists]

    def _line(self, stored: Stored) -> list[str]:
        return [f"{stored.name} = {made(stored, self.printer.target, self.program.grid.continuous)}"]

    def _seed(self, name: str) -> list[str]:
        """The adjoint of a requested quantity starts from its seed."""
        for q in (q for q in self.influences.covariances if name == f"adj_{q.name}"):
            on_rows = q.name in self.influences.symmetric and len(q.time_slots) == 2
            seed = f'_onto_rows(seeds["{q.name}"])' if on_rows else f'seeds["{q.name}"]'
            return [f"{name} = {self.xp}.array({seed})"]
        return []

    def _group(self, group: SourceGroup) -> list[list[str]]:
        name, normals = group.name, normals_of(group, self.program.sampling.groups)
        lines = [
            f'noise_{name}, normals_{name} = recorded["noise_{name}"], {normals}',
            f"factor_{name}, active_{name} = noise_{name}.factor, noise_{name}.active",
            f"ranks_{name} = noise_{name}.opened()",
            f"size_{name} = {group.size}",
            *[f"basis_{name} = noise_{name}.basis"] * bool(group.basis),
        ]
        return [[line] for line in lines] + [self._line(a) for a in storage_of_adjoint_noise(self.program, group)]

    # --- statements -------------------------------------------------------------------------------

    def _influence(self, statement: Influence) -> list[str]:
        target, piece = statement.target.tensor, statement.piece
        pieces, text = self.printer.pieces, self.printer.printer.text
        free = (statement.target.indices[0],)
        sampled = f"{target.name} += {text(pieces.piece(piece, free, False))}"
        if target.site not in self.closed:
            return [f"# {statement.equation}", sampled]
        *front, last = pieces.factors(piece, free)
        *summed, path = last.indices
        product = Shaped((), Einsum((*free, *summed, path), tuple(front)), (length(COLUMNS), REST, length(path.axis)))
        first = text(product if piece.scalar == 1 else pieces.scaled(piece, product))
        second = text(Shaped((), last, (REST, length(path.axis))))
        return [
            f"# {statement.equation}",
            f'if "{target.site}" in closed:',
            f"    first_{target.site}.append({first})",
            f"    second_{target.site}.append({second})",
            "else:",
            f"    {sampled}",
        ]

    def _recall(self, statement: AdjointRecall) -> list[str]:
        recall, now = statement.recall, self.now
        name, home, other = recall.group.name, recall.observable.tensor.site, recall.target.tensor.site
        count = f"ranks_{name}[{now}{' + 1' if recall.instant else ''}]"
        observable = self.printer.operand(recall.observable)
        memory, passed = statement.memory.tensor.name, statement.observable.tensor.name
        scale = "" if recall.coefficient == 1 else f"({self.printer.formula.expression(recall.coefficient, ())})*"
        lines = [
            f"# {statement.equation}",
            f"opened = {count}",
            f"observed = {observable}.reshape(-1, paths_{home})",
            f"coefficients_{recall.target.tensor.name}[{now}, :, :opened] = {scale}((observed*weight_{home}) "
            f"@ normals_{name}[:opened].T)",
            f"kernel = {scale}(({memory}.reshape(-1, paths_{other})*weight_{other}) @ basis_{name}[:opened].T)",
            f"passed = (kernel @ normals_{name}[:opened]).reshape(-1, columns, paths_{home})",
            f"{passed} += passed.reshape({passed}.shape)",
            "kernel = kernel.reshape(len(observed), columns, opened)",
        ]
        sampled = f"_add_products(influence_{home}, passed, observed)"
        if home in self.closed:
            exact = f'{self.xp}.einsum("mrj,mp,jq->rpq", kernel, observed, normals_{name}[:opened], optimize=True)'
            lines += [f'if "{home}" in closed:', f"    influence_{home} += {exact}", "else:", f"    {sampled}"]
        else:
            lines.append(sampled)
        return lines + self._fresh(statement)

    def _fresh(self, statement: AdjointRecall) -> list[str]:
        """Averages <e n> of earlier functions e and new normals n: 0 at the saddle point, but not at finite N."""
        first, second = statement.dual
        if first == second:
            return self._symmetric(statement)
        name, now = statement.recall.group.name, self.now
        other = second if name == first.name else first
        rows = f"factor_{other.name}[{now}*size_{other.name} :][{self._observed_rows(statement.recall, other)}]"
        rank = f"ranks_{other.name}[{now} + 1]"
        order = "rkj" if name == second.name else "rjk"
        target = f"adj_fresh_{first.name}_{second.name}"
        slices = f"[:, :{rank}, :opened]" if name == second.name else f"[:, :opened, :{rank}]"
        return [f'{target}{slices} -= {self.xp}.einsum("mk,mrj->{order}", {rows}[:, :{rank}], kernel, optimize=True)']

    def _observed_rows(self, recall: RecallMemory, group: SourceGroup) -> str:
        """The rows of a step of a group's factor that make up the observable of a recall."""
        if len(group.members) == 1:
            return f":size_{group.name}"
        bases = [s.basis for s in self.program.sweep.step if isinstance(s, AdjointBasis)]
        values = next(b.values for b in bases if b.group.name == group.name)
        place = next(k for k, v in enumerate(values) if v.tensor == recall.observable.tensor)
        return self._member_rows(group, group.members[place].tensor.name)

    def _symmetric(self, statement: AdjointRecall) -> list[str]:
        """The same for a square matrix, whose rows and columns are correlated."""
        recall, now = statement.recall, self.now
        name, site, memory = recall.group.name, recall.target.tensor.site, statement.memory.tensor.name
        correlation = self.printer.formula.expression(recall.correlation, ())
        scale = "" if recall.coefficient == 1 else f"({self.printer.formula.expression(recall.coefficient, ())})*"
        return [
            f"rows = factor_{name}[{now}*size_{name} :][:size_{name}, : ranks_{name}[{now} + 1]]",
            f"kernel = {scale}({memory}.reshape(-1, paths_{site})*weight_{site}) @ basis_{name}[: rows.shape[1]].T",
            "kernel = kernel.reshape(len(rows), columns, -1)",
            f"_add_averages_of_fresh(adj_fresh_{name}_{name}, rows, kernel, ranks_{name}[{now}], {correlation})",
        ]

    def _basis(self, statement: AdjointBasis) -> list[str]:
        name, site, now = statement.basis.group.name, statement.basis.site, self.now
        lines = [
            f"# {statement.equation}",
            f"known, opened = ranks_{name}[{now}], ranks_{name}[{now} + 1]",
            f"of_basis = {self.xp}.zeros((opened - known, columns, paths_{site}))",
        ]
        for recall in statement.recalls:
            first = now if recall.instant else f"{now} + 1"
            coefficients = f"coefficients_{recall.target.tensor.name}[{first}:, :, known:opened]"
            memory = f"adj_{recall.target.tensor.name}_history[{first}:]"
            shape = f"-1, columns, paths_{site}"
            lines += [
                "if opened > known:",
                f"    passed = {coefficients}.reshape(-1, opened - known)",
                f"    of_basis += {self.xp}.tensordot(passed, {memory}.reshape({shape}), (0, 0))",
            ]
        group = f"factor_{name}, active_{name}, adj_factor_{name}, adj_basis_{name}, basis_{name}"
        lines.append(
            f"of_values = _adjoint_of_basis(of_basis, {group}, weight_{site}, known, opened, {now}, size_{name})"
        )
        start = "0"
        for value in statement.values:
            sizes = [size_code(i.axis) for i in value.indices if not i.is_time and i.axis != COLUMNS]
            size = "*".join(sizes) or "1"
            stop = size if start == "0" else f"{start} + {size}"
            lines.append(f"{value.tensor.name} += of_values[{start}:{stop}].reshape({value.tensor.name}.shape)")
            start = stop
        return lines

    def _draw(self, statement: AdjointDraw) -> list[str]:
        group, now = statement.group, self.now
        name, site = group.name, group.site
        parts = [f"{s.tensor.name}.reshape(-1, columns, paths_{site})" for s in statement.sources]
        drawn = parts[0] if len(parts) == 1 else f"{self.xp}.concatenate([{', '.join(parts)}])"
        lines = [
            f"# {statement.equation}",
            f"of_rows = _adjoint_of_draw({drawn}*weight_{site}, normals_{name}, factor_{name}, active_{name}, "
            f"adj_factor_{name}, ranks_{name}, {now})",
        ]
        if len(group.members) > 1:
            lines.append(f"of_rows = of_rows.reshape(columns, size_{name}, {now} + 1, size_{name})")
        for target, ends in zip(statement.covariances, statement.ends, strict=True):
            left, right = self._ends(target)
            shape = ", ".join(["columns", *left, f"{now} + 1", *right])
            cut = ""
            if len(group.members) > 1:
                one, other = (self._member_rows(group, member) for member in ends)
                cut = f"[:, {one}, :, {other}]"
            moved = f"{self.xp}.moveaxis(of_rows{cut}.reshape({shape}), 0, {len(left)})"
            codes = [*[":" for _ in left], ":", now, *[":" for _ in right], f":{now} + 1"]
            time = len(left) + 1
            order = (*range(time), *range(time + 1, time + 1 + len(right)), time)
            lines.append(f"{target.tensor.name}[{', '.join(codes)}] = {moved}.transpose{order}")
        return lines

    def _member_rows(self, group: SourceGroup, member: str) -> str:
        """The slice of a member's values among those of its group."""
        sizes = [size_of(m) for m in group.members]
        place = next(k for k, m in enumerate(group.members) if m.tensor.name == member)
        start = " + ".join(sizes[:place])
        return f"{start} : {start} + {sizes[place]}" if start else f":{sizes[place]}"

    def _ends(self, target: Entry) -> tuple[list[str], list[str]]:
        """The sizes of the two ends of a covariance, without times and column."""
        indices = list(target.tensor.indices)
        column = next(k for k, i in enumerate(indices) if i.axis == COLUMNS)
        left = [size_code(i.axis) for i in indices[:column]]
        right = [size_code(i.axis) for i in indices[column + 2 :] if not i.is_time]
        return left, right

    def _opens_first(self, group: SourceGroup) -> bool:
        """Whether the normals of a group are opened before those of its dual in the same step."""
        return any(r.instant for r in recalls_of(self.program, group))

    def after(self) -> list[str]:
        """At the end, what averages of closed sites contribute, and those of earlier functions with new normals."""
        matrices = dict.fromkeys(d.matrix.name for d in self.program.sampling.directions)
        lines = [f"adjoint_{name}.finish()" for name in matrices]
        for site in (s for s in self.influenced if s in self.closed):
            factors = f"{self.xp}.concatenate(first_{site}, 1), {self.xp}.concatenate(second_{site})"
            products = f"{self.xp}.tensordot({factors}, (1, 0))"
            lines += [f"if first_{site}:", f"    influence_{site} += {products}"]
        for first, second in self.influences.duals:
            pair = f"{first.name}_{second.name}"
            if first == second:
                lines += [f"# averages of the functions of {first.name} with its own normals, drawn later"]
                lines += self._averages_of_fresh(first, first, f"adj_fresh_{pair}", "rkj,kp,jp->rp")
                continue
            lines += [
                f"# averages of the functions of {first.name} and {second.name} with normals that are drawn later",
                f"earlier = {self.xp}.asarray("
                f"_earlier(ranks_{first.name}, ranks_{second.name}, {self._opens_first(first)}))",
                f"fresh = adj_fresh_{pair}",
            ]
            for here, other, order, kept in (
                (first, second, "rkj,kp,jp->rp", "earlier"),
                (second, first, "rkj,jp,kp->rp", "~earlier"),
            ):
                lines += self._averages_of_fresh(here, other, f"fresh*{kept}", order)
        return lines

    def _averages_of_fresh(self, here: SourceGroup, other: SourceGroup, fresh: str, order: str) -> list[str]:
        """Influence through the averages of functions of a basis and normals, with the adjoint `fresh`."""
        arrays = f"{fresh}, basis_{here.name}[: ranks_{here.name}[steps]], "
        arrays += f"normals_{other.name}[: ranks_{other.name}[steps]]"
        site = here.basis
        sampled = f'influence_{site} += {self.xp}.einsum("{order}", {arrays}, optimize=True)'
        if site not in self.closed:
            return [sampled]
        left, right = order.split("->")[0].split(",")[1:]
        exact = f'influence_{site} += {self.xp}.einsum("rkj,{left},{right[0]}q->rpq", {arrays}, optimize=True)'
        return [f'if "{site}" in closed:', f"    {exact}", "else:", f"    {sampled}"]
