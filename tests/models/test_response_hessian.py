"""N Cov of models whose response function feeds back, as −H^{-1} of their actions: dense against generated code.

The reference takes the Hessian over C, R, mu and all conjugates; every site integral is Gaussian.
"""

import numpy as np
import pytest
from gaussian_hessian import GaussianAction, Layout

import dmftsym as ds
from dmftsym.models.loading import build_model

T, DT = 4, 0.3


def site_form(v, drift, noise, initial_variance):
    """Q for (x(0..T-1), x~(0..T-2)): x(t+1) = x(t) + dt Σ_s drift(t,s) x(s) + dt u(t), u of covariance `noise`."""
    advance = np.zeros((T - 1, T), dtype=complex)
    advance[:, 1:] += np.eye(T - 1)
    advance[:, :-1] -= np.eye(T - 1)
    advance = advance - DT * drift[:-1]
    fields = (v["C_hat"] + v["C_hat"].T).astype(complex)
    fields[0, 0] -= 1 / initial_variance
    mixed = v["R_hat"][:, :-1].T - advance
    Q = np.block([[fields, mixed.T], [mixed, DT**2 * noise[:-1, :-1]]])
    return Q if np.iscomplexobj(v["C"]) else Q.real


def p_spin_action(p, temperature):
    layout = Layout(C=("lower", T), R=(T, T), mu=(T - 1,), C_hat=("lower", T), R_hat=(T, T), mu_hat=(T - 1,))
    past = np.tril(np.ones((T, T)), -1)

    def pair_terms(variables):
        v = layout.unpack(variables)
        held = (v["mu_hat"] * (np.diag(v["C"])[1:] - 1)).sum()
        return -(v["C_hat"] * v["C"]).sum() - (v["R_hat"] * v["R"]).sum() - held

    def forms(variables):
        v = layout.unpack(variables)
        memory = DT * p * (p - 1) / 2 * past * v["C"] ** (p - 2) * v["R"]
        noise = p / 2 * v["C"] ** (p - 1) + 2 * temperature / DT * np.eye(T)
        drift = memory - np.diag(np.append(v["mu"], 0))
        return [site_form(v, drift, noise, 1.0)]

    return layout, GaussianAction(pair_terms, forms)


def symmetric_action(g, rho, variance):
    """R is its own conjugate, at equal times too: there it vanishes but fluctuates."""
    layout = Layout(C=("lower", T), R=(T, T), C_hat=("lower", T))

    def pair_terms(variables):
        v = layout.unpack(variables)
        return -(v["C_hat"] * v["C"]).sum() - rho * g**2 * DT**2 / 2 * (v["R"] * v["R"].T).sum()

    def forms(variables):
        v = layout.unpack(variables)
        drift = DT * rho * g**2 * v["R"] - np.eye(T)
        return [site_form(v | {"R_hat": np.zeros((T, T))}, drift, g**2 * v["C"], variance)]

    return layout, GaussianAction(pair_terms, forms)


def compare(layout, action, model, parameters, names):
    """The means make the action stationary; largest deviation of the covariances, relative to the largest entry."""
    solver = ds.compile_model(model, ds.Options(outputs=("R",))).solver
    means = solver.solve(parameters, steps=T, dt=DT)
    parts = {n: means[n].values for n in ("C", "R", "mu") if n in layout.shapes}
    if "mu" in parts:
        parts["mu"] = parts["mu"][:-1]
    variables = layout.pack(**parts)
    assert np.abs(action.gradient(variables)).max() < 1e-7, "the solution is the saddle point of this action"
    dense = action.covariance(variables)
    found = ds.compile_model(model, ds.Options(covariance=names)).solver.solve(parameters, steps=T, dt=DT)
    assert found.attrs["cov_measure"] == "gaussian, exact"
    worst, largest = 0.0, max(np.abs(dense[np.ix_(*[layout.places(n).ravel()] * 2)]).max() for n in names)
    for k, one in enumerate(names):
        for other in names[k:]:
            places = [layout.places(n) for n in (one, other)]
            expected = dense[np.ix_(*[p.ravel() for p in places])].reshape(places[0].shape + places[1].shape)
            cut = tuple(slice(0, n) for n in expected.shape)
            worst = max(worst, np.abs(found[f"cov_{one}_{other}"].values[cut] - expected).max() / largest)
    return worst


SLOW = [pytest.param(3, temperature, marks=pytest.mark.slow) for temperature in (0.8, 0.3)]


@pytest.mark.parametrize("p, temperature", [*SLOW, (2, 0.5), pytest.param(4, 0.0, marks=pytest.mark.slow)])
def test_p_spin(p, temperature):
    layout, action = p_spin_action(p, temperature)
    parameters = {"p": p, "temperature": temperature}
    assert compare(layout, action, build_model("p_spin"), parameters, ("C", "mu")) < 1e-6
    layout, wrong = p_spin_action(p, temperature + 0.001)
    with pytest.raises(AssertionError):
        compare(layout, wrong, build_model("p_spin"), parameters, ("C", "mu"))


@pytest.mark.parametrize(
    "rho", [pytest.param(0.6, marks=pytest.mark.slow), -0.4, 1e-3, pytest.param(1.0, marks=pytest.mark.slow), -1.0]
)
def test_linear_network_with_partially_symmetric_couplings(rho):
    model = build_model("recurrent", activation="linear", symmetric=True)
    layout, action = symmetric_action(0.9, rho, 1.3)
    parameters = {"g": 0.9, "rho": rho, "x0_variance": 1.3}
    assert compare(layout, action, model, parameters, ("C",)) < 1e-6
