"""Quantities at one time that stay the same when two indices change places."""

from dataclasses import replace

import dmftsym as ds
from dmftsym.linearise.exchange import exchangeable
from dmftsym.lowering.lower import lower, program_of
from dmftsym.lowering.schemes import scheme_named


def program(**structure):
    return program_of(lower(ds.derive(ds.build_model("mlp", **structure)), scheme_named("euler"), ("f", "K")))


def test_kernels_of_two_samples_are_the_same_for_both_orders():
    found = exchangeable(program(depth=2))
    assert found["K"] == (0, 1) and found["Phi1_equal"] == (0, 1)
    assert "f" not in found and "Delta" not in found


def test_what_is_not_shown_is_not_taken_for_the_same():
    """Without symmetric data the kernel of the first layer may differ; what is made of one order alone does."""
    given = program(depth=2)
    found = exchangeable(replace(given, facts=replace(given.facts, symmetric_data=())))
    assert "K" not in found and "Phi1_equal" in found
