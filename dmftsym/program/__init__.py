"""A program: the sweep over time as a value, with statements that carry their own rules, and a plain interpreter.

This stage defines what `lowering` and `linearise` write and what `codegen` prints. A `Program` (`program.py`) has
four parts: `Facts` (what the user declared), `Grid` (the time grid and its scheme), `Sampling` (what paths are made
of) and a `Sweep`: its `Buffer`s, the statements before the first step (`constants`), of a `step`, of its end
(`epilogue`) and after the last one (`closing`).

The parts of a sweep: `axes` (directions, impulses and passes, beside the axes of the user), `buffers` (an array, its
`Role`, and of what it is the tangent or the adjoint), `accesses` and `times` (what a statement reads: which entry,
and `When` relative to the step), `sources` (groups of jointly Gaussian sources), `statements` (see the page there), and
`tangents` (first-order changes along further axes, what the tangent rules of statements ask).

From quantities to a sweep, in this order:
1. `nodes`: a quantity with its statements and, from their accesses, what it reads and when;
2. `schedule`: the nodes of a step in causal order, those without time before it, running sums at its end; where
   quantities wait for each other, `apart` computes a part of one before the rest;
3. `fusion`: updates that run over the paths of one site share a loop (`fuse`); `gathered` brings nodes together so
   that few loops are needed; `history_arrays` says which arrays over paths keep all times.
`batching` gives a program one axis more, for independent parts of the paths side by side; `deferral` moves averages
over pairs of times that no step needs behind the last one, where they are products of matrices. `storage` lists the
arrays of a sweep, forward or backward, with the lengths of their axes (`Stored`): targets print from it what allocates
them and how much memory they take. `printer` shows a program as text. `interpreter`, with `draws`, `factors` and
`matrix_states`, runs one in plain NumPy, about a hundred times slower than generated code, which is tested against it;
`matrix_changes` follows changes through the matrices of a run that is over.

The next stages rely on this:
- within a step every entry is written before it is read, unless it is read at an earlier time;
- an array over sample paths keeps all times if `Buffer.history`; otherwise it holds the last one, and a statement
  that reads the time before runs before, or in, the update that overwrites it;
- what an array is for is its `role`, and whose tangent or adjoint it is its `of`; no name is parsed;
- everything but arrays over sample paths keeps all times.
"""
