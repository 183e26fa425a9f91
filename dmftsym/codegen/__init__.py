"""Programs as the text of a standalone module: printers for formulas, templates for structure.

In: the `Program` of the mean solution, the name of a target, and `Fluctuations` or `Influences` if covariances are
wanted. Out of `generate.generate_source`: a `Source`, the text of a Python file that imports the standard library,
NumPy, and Numba or CuPy.

The files, from formulas to the module:
- `printers`, `cuda_printer`: one rule a function, for numbers inside kernels and for whole arrays;
- `tree`, `places`: array operations as data, whose axes have indices; what stands in a subscript;
- `arrays`, `pieces`, `covariances`: formulas, products over sample paths and covariances of sources as such trees, the
  same for every target;
- `array_printer`: trees as text, with the words of the target where targets differ;
- `kernels`, `cuda_kernels`, `tangent_kernels`: loops over sample paths; `whole_arrays`: functions that stand outside
  these on the host, where NumPy evaluates them for an array at once;
- `sources`, `statements` (`StatementWriter`), `adjoint`: statements as lines of array code, the equation above each;
- `matrices`, `adjoint_matrices`: what random matrices do in a step, forward and backward in time;
- `storage`: what makes each array of the plan (`program.storage`), and how much memory all take; `grid`: arrays that
  the time grid fixes;
- `sweeps`: a program as three functions: `allocate` makes the state, `step(state, t)` takes one time step, the sweep
  is the loop; `fluctuations`, `influences`, `explicit`: what covariances need beside their sweeps;
- `sobol`: direction numbers; `names`: which names the generator gives itself;
- `targets`, `templates`: what differs between targets, and the loader of the templates.

The sweep of the mean solution is printed from its parted program (`program.batching`): independent parts of the paths
are one axis of what has no paths, in one sweep; with one part it is the sweep of all. Those of covariances have none.

Order, in `generate_source`: the sweep of the mean solution; the sweeps of the covariances; the tables of the module;
memory; then `templates.render` fills the template of the module. Kernels are collected by the writer on the way.

The runtime relies on this:
- the module holds `solve`, `check_parameters`, `InputError`, the constants that name model, version, options, axes
  and results, and with covariances `fluctuations` and `check_fluctuations`;
- a step depends on nothing but the state and the time, and writes to the arrays of the state: a copy is a checkpoint;
- the text depends on model and options only: the same on every run, numbers with 17 digits;
- a key that a template lacks, or that none uses, is an error (`CodegenError`), and so is a function without a rule.
"""
