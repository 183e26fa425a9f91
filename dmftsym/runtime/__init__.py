"""Load and cache generated code, run it, label and store results; no SymPy here, and no other stage.

In: the text of a generated module. Out: an `xarray.Dataset`, one variable a quantity, and how it was made as
attributes.

Order, in `solver.Solver.solve`:
1. `cache`: the text is written to a folder named by its hash, so that compiled code is found again, and imported;
2. `interrupts` and `parallel`: the first signal ends the run after its step; forked processes run without threads;
3. the module computes the means, then the covariances if it holds them; `progress` shows a bar where someone looks;
4. `results`: arrays become labelled variables; `save` writes netCDF-4 beside the file and renames it.
Around it: `data` reads arrays from files before that, and `backends` says whether a device is there and worth it.

What callers rely on:
- the module checks its own input, and its `InputError` becomes a `SolveError` with the same words;
- a run that diverges or is interrupted returns what it has, and says so in the attribute `status`;
- nobody ever sees half a file, and nothing that came from a file is executed but the text that was generated here;
- a `Solver` can be copied, pickled and sent to another process, which loads the module again.
"""
