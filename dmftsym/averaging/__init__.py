"""From a model with random matrices to one without: the average over the disorder.

in: a `Model` with matrices, as a user says it. out: a `Model` without, the same kind of action as a user writes.
order: `uses` (what is asked of every matrix; a field of its own where it is more than a term of an equation), then
`kernels` (which averages of two functions there are, and what the user calls them) and `influence` (which responses
vanish), then `average` (the action). `matching` tells expressions that are equal up to the names of their indices.
invariants: a model without matrices passes unchanged; nothing here knows what a site or a field is for.
"""
