"""Equations on a time grid: live quantities only, in causal order, as a program.

In: a `Derivation`, a `Scheme`, and the names of the wanted quantities. Out of `lower`: a `Lowered` (builder, groups,
schedule, liveness, closure), from which `program_of` makes the `Program` of the mean solution, and `linearise`
starts.

Before: `code_names` gives another name to what cannot stand in code. Then, in the order of `lower._lower`:
1. `acausal`, `passes`: what cannot be solved, or not by this scheme, is refused in the user's symbols;
2. `clock`: a time that stands in a formula as a number is looked up in an array of times;
3. `gaussian`: linear sites are closed exactly, and the formulas of those sites multiplied out (`Closure`);
   `recognise` finds random matrices in an action that was averaged by hand: `noise` reads covariances as those of
   products with a matrix, `kernels` compares terms, `found` writes the finite system;
   `held`: where they can be held, products with matrices stand in place of noise, memory and drift;
4. `memory`: memories of random matrices that are not held become recalls, averages of whitened functions, without
   response functions;
5. `liveness`: what the wanted quantities need (`Liveness`), response functions no more than the coefficients of their
   changes; `equal_time`: what is read only at t = s loses a time;
6. `kicks` (for covariances): impulses in the sources of closed sites, as paths of their own;
7. `sources`: groups of jointly Gaussian sources, and which are drawn in ± pairs;
8. `quantities` (`QuantityBuilder`): products are split into factors per path, sums become contractions; with it write
   `constraints` (multipliers), `motion` (equations of motion, by the scheme) and `integrals` (weights of sums over
   the past);
9. `responses`: the tangent rule of a site's statements, along the times of an impulse in one of its sources, gives the
   changes of which response functions are averages (`Kicks`; in schemes with two passes a step `Onsets`). Updates that
   are there for their change alone, and memories that are recalled instead, are taken away again;
10. `program.schedule` orders the nodes; `program_of` fuses loops and says which arrays keep all times.
Used throughout: `schemes` (a scheme is data), `rewrite` (change every term of a derivation), `terms` (small
questions).

The next stages rely on this:
- passes 2 to 6 rewrite equations as equations, so that each can be printed and tested alone; only later ones know
  arrays;
- every statement stands in exactly one node, named after the quantity, or the group of sources, that it updates;
- white noise carries the variance of its time step, and integrals over the past their weights;
- conjugates vanish, so that averages have weight one.

What has no order within a step raises `InstantaneousLoop`, other things `LoweringError`.
"""
