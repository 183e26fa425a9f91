"""Actions whose conjugates do not vanish at the saddle point are refused: their averages would be tilted."""

import pytest

import dmftsym as ds


def coupled(strength):
    """Two order parameters; `strength` couples them in the explicit part of the action."""
    m = ds.Model("coupled")
    t, s = m.times("t s")
    q, p = m.order_parameter("q", t), m.order_parameter("p", t)
    site = m.site("unit")
    x = site.field("x", t)
    site.action(
        -x.tilde[t] * (x[t] - ds.past(s)(q[s] + p[s]))
        + x.tilde[t] * x.tilde[s] / 2
        + q.hat[t] * x[t]
        + p.hat[t] * x[t] ** 2
    )
    m.action = -q.hat[t] * q[t] - p.hat[t] * p[t] + strength * q[t] * p[t] + ds.log_Z(site)
    return m


def test_a_conjugate_that_stays_is_named_with_its_term():
    with pytest.raises(ds.LoweringError, match=r"conjugate q\.hat\[t\] does not vanish.* p\[t\]"):
        ds.compile_model(coupled(1))
    assert ds.compile_model(coupled(0)).solve(steps=3).attrs["status"] == "ok"


@pytest.mark.parametrize("name", ["mlp", "recurrent"])
def test_the_library_has_none(name):
    assert all(c.vanishes for c in ds.derive(ds.build_model(name)).saddle_point.conjugates)
