"""Mathematics only, no grid: effective process, saddle point, causality, Hessian and propagator.

In: a `Model`, or what `average_disorder` made of it, of which `read_action` makes an `Action`. Out: a `Derivation`,
which holds
- `disorder`: the `FiniteSystem` that was said, if there are random matrices;
- `process`: one `EffectiveProcess` a site, with its `FieldEquation`s, `Source`s and their `Covariance`s;
- `saddle_point`: a `SaddlePoint`, with one equation an order parameter, one a conjugate, and constraints;
- `responses` and `causal`: which order parameters are response functions, and their `Reach` in time;
- `hessian`, `propagator` and `worth_checking`, derived when they are asked for.

Order, in `derive.derive`:
1. `process`: terms are sorted by their response fields, of first order the equations, of second order the noise, of
   order zero the observables; `symmetry` says which kernels are symmetric;
2. `saddle_point.derive_order_parameters`: δS/δq̂ = 0, with averages that `averages` keeps as symbols;
3. `parts`, `responses`: sums of response functions become functions of elementary ones, and the reach of each is
   found;
4. `positivity`: a response function cannot be the covariance of a noise;
5. `saddle_point.derive_saddle_point`: δS/δq = 0, and for every term of a conjugate the reason why it vanishes;
6. `responses.with_causal_memory`: memories sum over the times at which their kernel is not zero.
On demand: `hessian` and `propagator` (with `functional`, functional derivatives; `jumps`, which formulas jump), and
`worth_checking`. `document`, `picture` and `figure` show them.

The next stages rely on this:
- formulas are the `Term`s of the language; averages over a site are `SiteAverage`s, never numbers;
- every source has a name and a kind (`SourceKind`), and those of one `Covariance` have the same kind;
- sums over time have their upper limit, as far as the reach of response functions tells;
- a conjugate that does not vanish is kept with its reason; whether it can be computed is decided later.

A wrong action raises `DerivationError` or `LanguageError`. Nothing here knows a time step, a path or an array.
"""
