"""What scheme heun refuses, in one line that names it: models that it would not integrate to second order."""

import pytest
from sympy import tanh

import dmftsym as ds
from dmftsym.models.loading import build_model


def model(fill, *, continuous=True):
    """A model with one site, one field x and C = <x x>; `fill` adds the rest."""
    m = ds.Model("trial")
    t, s = m.times("t s", continuous=True, dt=0.1) if continuous else m.times("t s")
    C = m.order_parameter("C", t, s)
    site = m.site("unit")
    x = site.field("x", t, variance=1)
    pairs = fill(m, site, x, C, t, s)
    site.action(C.hat[t, s] * x[t] * x[s])
    m.action = -C.hat[t, s] * C[t, s] + (pairs or 0) + ds.log_Z(site)
    return m


def compiled(m, **options):
    return ds.compile_model(m, ds.Options(scheme="heun", **options))


def lag(m, site, x, C, t, s):
    q = m.order_parameter("q", t)
    y = site.field("y", t, mean=1)
    site.action(-x.tilde[t] * (x.dot[t] + x[t]) - y.tilde[t] * (y[t] - y[t - 1] / 2) + q.hat[t] * y[t])
    return -q.hat[t] * q[t]


def white_noise_without_derivative(m, site, x, C, t, s):
    y = site.field("y", t)
    site.action(-x.tilde[t] * (x.dot[t] - x[t] * y[t]) - y.tilde[t] * y[t] + y.tilde[t] * y.tilde[t] / 2)


def response(m, site, x, t, s, observed):
    R = m.order_parameter("R", t, s)
    site.action(R.hat[t, s] * observed * x.tilde[s])
    return R, -R.hat[t, s] * R[t, s]


def equal_times(m, site, x, C, t, s):
    R, pair = response(m, site, x, t, s, x[t])
    site.action(-x.tilde[t] * (x.dot[t] + x[t] + R[t, t] * tanh(x[t])))
    return pair


def response_that_jumps_inside(m, site, x, C, t, s):
    """An integral over the later time of a response function: it starts at the earlier one."""
    R, pair = response(m, site, x, t, s, x[t])
    site.action(-x.tilde[t] * (x.dot[t] + x[t] - ds.past(s)(R[s, 0] * tanh(x[s]))))
    return pair


REFUSED = {
    "lag": (lag, r"heun: the equation of y reads y\[t - 1\].*euler"),
    "white noise without a derivative": (white_noise_without_derivative, r"heun: the white noise of y.*Itô.*euler"),
    "response at equal times": (equal_times, r"heun: the equation of x reads R\[t, t\].*Itô.*euler"),
    "jump inside an integral": (response_that_jumps_inside, r"heun: the integral.*R\[s, 0\].*euler"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_be_of_second_order_is_refused(case):
    fill, words = REFUSED[case]
    with pytest.raises(ds.LoweringError, match=words) as refusal:
        compiled(model(fill))
    assert "\n" not in str(refusal.value)


def test_discrete_time_has_no_scheme():
    with pytest.raises(ds.LoweringError, match="heun: mlp has discrete time"):
        compiled(build_model("mlp"))


def test_covariances_that_need_a_sweep_backward_are_refused():
    for name, options in (("p_spin", {}), ("recurrent", {"activation": "linear"}), ("recurrent", {"symmetric": True})):
        with pytest.raises(ds.LoweringError, match=r"covariances of C.*need scheme euler"):
            compiled(build_model(name, **options), covariance=("C",))
    assert compiled(build_model("recurrent"), covariance=("C",)).fluctuations is not None


def test_an_unknown_scheme_is_refused_before_anything_is_derived():
    with pytest.raises(ds.DmftsymError, match="unknown scheme 'milstein'; known: euler, heun"):
        ds.Options(scheme="milstein")
