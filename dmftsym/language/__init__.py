"""What a user writes: axes, parameters, data, activations, order parameters, sites and the action.

In: calls of `Model` (`model.py`) and `Site` (`site.py`). Out: an `Action` (`action.py`), immutable and checked by
`reading`, from which the derivation starts; its parts are `Declarations`, `SiteAction`, `Definition` and `Start`.

Words, from the inside out:
- `symbols`: `Axis`, `Index`, `Parameter`, `Size`, `Tensor` (the head) and `Entry` (a head with indices, h[mu, t]).
  Time is an axis like the others, but it alone carries causality;
- `sums`: `past`, `sum_over` and `log_Z`, sums that stand in a formula unevaluated; `matrices`: functions of matrices;
- `activations`, `functions`: a name in the equations, a SymPy formula underneath; `grammar` parses formulas given as
  text, and never evaluates them as Python;
- `arithmetic`, `foreign`, `names`: what is refused, and what to write instead.

Order: everything that a formula is made of is admitted when it is written (`foreign.admit`, `names.check_name`).
`read_action` then reads the whole: `terms.flatten` turns every formula into `Term`s, sums of products with named
bound indices; repeated indices are contracted (`terms.contract`); symbols, sizes and results are checked, and every
order parameter gets its conjugate (`conjugates`), its own q.hat or another order parameter. `display` shows records.

The next stage relies on this:
- every formula is a tuple of `Term`s whose indices are free or bound, each bound one once; a sum over the past is a
  `Before` among the constraints of its term, and the action itself holds no nested sum over times;
- a field occurs in the action of its own site only, and every symbol is declared;
- every order parameter has a conjugate, every site a weight, every axis a size that a parameter or data tell;
- symbols of one name and one set of indices are equal, so records can be compared, hashed and copied.

A mistake raises `LanguageError` with the term in the user's symbols.
"""
