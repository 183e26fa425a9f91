"""A time scheme added as CONTRIBUTING.md says: a record, with noise of its own; nonlinear rules are refused."""

import numpy as np
import pytest
from sympy import exp

import dmftsym as ds
from dmftsym.lowering.schemes import RATE, SCHEMES, VALUE, Scheme
from dmftsym.program.axes import TIME_STEP

DECAY = exp(-TIME_STEP)
TEMPERATURE, STEP = 0.8, 0.5


@pytest.fixture
def relaxing(monkeypatch):
    """Exact for dx/dt = -x + white noise at every time step, as the noise of a step is scaled to its decay."""
    noise = (1 + DECAY) / (2 * (1 - DECAY))
    scheme = Scheme(
        name="relaxing",
        order=1,
        advance=VALUE + (1 - DECAY) * RATE,
        integral_weight=TIME_STEP,
        white_variance=noise,
        reference="Gillespie, Phys. Rev. E 54, 2084",
    )
    monkeypatch.setitem(SCHEMES, "relaxing", scheme)


def unit():
    m = ds.Model("unit")
    t, s = m.times("t s", continuous=True, dt=STEP)
    T = m.parameters("T")
    C, v = m.order_parameter("C", t, s), m.order_parameter("v", t)
    site = m.site("one")
    x = site.field("x", t, variance=1)
    site.action(-x.tilde[t] * (x.dot[t] + x[t]) + T * x.tilde[t] ** 2)
    site.observe(C[t, s], x[t] * x[s])
    site.observe(v[t], x[t] ** 2)
    return m


def correlation(scheme, **options):
    compiled = ds.compile_model(unit(), ds.Options(scheme=scheme, covariance=("v",)))
    return compiled.solve({"T": TEMPERATURE}, steps=8, accuracy=np.inf, time_step_error=False, **options)


def exact(times):
    late, early = np.maximum(times[:, None], times), np.minimum(times[:, None], times)
    return np.exp(-late - early) + TEMPERATURE * (np.exp(early - late) - np.exp(-late - early))


def test_an_added_scheme_works_in_means_and_covariances(relaxing):
    found = correlation("relaxing")
    expected = exact(np.arange(8) * STEP)
    assert found.attrs["measure"] == "gaussian, exact"
    assert np.abs(found.C - expected).max() < 1e-12
    # Gaussian paths: N Cov of <x(t)^2> and <x(s)^2> is 2 <x(t) x(s)>^2
    distance = lambda scale: float((((found.cov_v_v - scale * 2 * expected**2) / found.se_cov_v_v) ** 2).mean() ** 0.5)
    assert distance(1.0) < 2.5 < distance(1.1)
    assert np.abs(correlation("euler").C - expected).max() > 0.1, "negative control"


def test_an_added_scheme_works_on_sampled_paths(relaxing):
    found = correlation("relaxing", measure="sobol", points=2**13, covariance_points=64)
    within = np.abs(found.C - exact(np.arange(8) * STEP)) <= 4 * found.se_C + 1e-12
    assert within.all()


def test_rules_that_are_not_linear_are_refused():
    """Tamed Euler would make a linear site nonlinear, which is closed exactly all the same."""
    tamed = VALUE + TIME_STEP * RATE / (1 + TIME_STEP * RATE**2)
    for rule in (tamed, VALUE * RATE, VALUE + TIME_STEP):
        with pytest.raises(ds.LoweringError, match=r"scheme tamed: .* is not linear in value and rate"):
            Scheme(
                name="tamed",
                order=1,
                advance=rule,
                integral_weight=TIME_STEP,
                white_variance=1 / TIME_STEP,
                reference="Hutzenthaler et al. (2012)",
            )
