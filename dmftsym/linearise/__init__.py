"""How every quantity of a program changes, to first order, when the weights of its sample paths change.

A network of width N is a sample of N paths a site, so its fluctuations are linear responses to changes of the weights
(`fluctuations` says it in formulas). In: a `Derivation`, a `Scheme`, the quantities whose covariances are wanted, and
the `Program` of the mean solution, whose normals are shared. Out of `linearise`: nothing if none is wanted; else a
`Feedback` and one of the two records of `records`:
- `Fluctuations`, covariances column by column, forward in time: the five `TangentPrograms`;
- `Influences`, for memories of random matrices and for closed sites with evolving noise: the sweep that records
  everything, and the sweep backward in time that gives the influence functions.

Order, in `fluctuations.linearise`:
1. the model is lowered again, with kicks, for the wanted quantities and what noise of explicit terms reads;
2. `feedback`: which averages fluctuate, which of them feed back (`closed`), which only follow (`observed`), which
   functions follow by the chain rule (`derived`), and which nodes need a first-order change (`active`);
3. checks: what has no first-order change is refused;
4. `tangent` (`TangentWriter`, one of the `program.tangents`): the first-order change of every active node, by the
   tangent rule of its statements, with slopes where a partial derivative depends on the path; response functions are
   such changes already (`lowering.responses`), and change like everything else;
5. `fluctuations` (`ProgramWriter`) makes programs of them: tangent, direct part, sketch and chain rule; or `adjoint`
   (`AdjointWriter`) transposes the first-order changes, the last node of the step first.

The next stage relies on this:
- all programs share the time grid and the axes of the program that they change, and one more axis, the column;
- the change of a quantity has the quantity's indices and the column before the first time; `Buffer.of` names the
  quantity;
- `given` buffers (modes, shifts, values of another sweep) come from the caller;
- what jumps is listed (`jumps`): there the tangent misses a part, and differences of whole sweeps replace it. A path
  that crosses a jump moves by a finite amount, however small the change, and what follows is not linear in it: no
  difference in a single statement of the tangent could say it.
"""
