"""N Cov of a deep linear network as −H^{-1}, dense and over all variables, against the generated code.

Nothing of the package is used for the reference: for two hidden linear layers and one sample every site integral is
Gaussian, ln Z = −½ ln det(−Q) + const with S_site = ½ v^T Q v over the fields and response fields v of all times. The
Hessian is taken over Phi, G, f and their conjugates and over all entries of A and B, which are each other's conjugate.
"""

import numpy as np

import dmftsym as ds
from dmftsym.models.loading import build_model

T, GAMMA, ETA, LABEL = 3, 1.3, 0.25, 0.8
LOWER = np.tril_indices(T)
THETA, ONES = np.tril(np.ones((T, T)), -1), np.ones((T, T))
SIZES = {"Phi": 6, "G": 6, "f": T, "A": T * T, "B": T * T, "Phi_hat": 6, "G_hat": 6, "f_hat": T}


def unpack(variables):
    """Matrices of all variables; symmetric ones are given by their lower triangle."""
    result, start = {}, 0
    for name, size in SIZES.items():
        part, start = variables[start : start + size], start + size
        if size == T:
            result[name] = part
        elif size == T * T:
            result[name] = part.reshape(T, T)
        else:
            matrix = np.zeros((T, T), dtype=variables.dtype)
            matrix[LOWER] = part
            # a conjugate multiplies h(t) h(s) once, a covariance is symmetric
            result[name] = matrix if name.endswith("hat") else matrix + matrix.T - np.diag(np.diag(matrix))
    return result


def forms(variables):
    """Q of both layers, blocks h, z, h~, z~: each field is minus its response field's coefficient plus its drift."""
    v = unpack(variables)
    rate = ETA * GAMMA * (LABEL - v["f"])
    first = THETA * rate, THETA * v["G"] * rate + v["B"], ONES, v["G"]
    second = THETA * v["Phi"] * rate + v["A"], THETA * rate, v["Phi"], ONES
    observed = (
        (v["Phi_hat"] + v["Phi_hat"].T, 0 * ONES, 0 * ONES),
        (
            0 * ONES,
            v["G_hat"] + v["G_hat"].T,
            np.diag(v["f_hat"]) / GAMMA,
        ),
    )
    result = []
    for (into_h, into_z, noise_h, noise_z), (hh, zz, hz) in zip((first, second), observed, strict=True):
        zero, one = np.zeros((T, T), dtype=variables.dtype), np.eye(T)
        rows = [[hh, hz, -one, into_z.T], [hz.T, zz, into_h.T, -one]]
        rows += [[-one, into_h, noise_h, zero], [into_z, -one, zero, noise_z]]
        result.append(np.block(rows))
    return result


def pair_terms(variables):
    v = unpack(variables)
    symmetric = sum((v[f"{q}_hat"][LOWER] * v[q][LOWER]).sum() for q in ("Phi", "G"))
    return -symmetric - (v["f_hat"] * v["f"]).sum() - (v["A"] * v["B"].T).sum()


def gradient(variables, step=1e-30):
    """dS by complex steps: −½ tr(Q^{-1} dQ), exact to rounding."""
    inverses = [np.linalg.inv(Q) for Q in forms(variables)]
    result = np.zeros(len(variables))
    for k in range(len(variables)):
        moved = variables.astype(complex)
        moved[k] += 1j * step
        change = [(Q.imag / step) for Q in forms(moved)]
        traces = sum(np.trace(inverse @ dQ) for inverse, dQ in zip(inverses, change, strict=True))
        result[k] = pair_terms(moved).imag / step - traces / 2
    return result


def saddle_point():
    """Order parameters from averages, as often as there are steps; conjugates and acausal responses stay zero."""
    variables = np.zeros(sum(SIZES.values()))
    for _ in range(3 * T):
        one, two = (-np.linalg.inv(Q) for Q in forms(variables))
        block = lambda C, i, j: C[i * T : (i + 1) * T, j * T : (j + 1) * T]
        found = {"Phi": block(one, 0, 0)[LOWER], "G": block(two, 1, 1)[LOWER], "f": np.diag(block(two, 0, 1)) / GAMMA}
        found |= {"A": block(one, 0, 3).ravel(), "B": block(two, 1, 2).ravel()}
        variables = np.concatenate([found.get(name, np.zeros(size)) for name, size in SIZES.items()])
    return variables


def dense_covariance():
    variables, step = saddle_point(), 1e-4
    assert np.abs(gradient(variables)).max() < 1e-12, "this is the saddle point"
    columns = []
    for k in range(len(variables)):
        moved = [gradient(variables + s * step * (np.arange(len(variables)) == k)) for s in (-2, -1, 1, 2)]
        columns.append((moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step))
    return variables, -np.linalg.inv(np.array(columns))


def test_covariances_are_minus_the_inverse_hessian_over_all_variables():
    """To 1e-6 of the largest entry (jitter 1e-10 of the generated code), and 1e-9 for the means."""
    variables, covariance = dense_covariance()
    module = ds.compile_model(
        build_model("mlp", depth=2, activation="linear"),
        ds.Options(outputs=("Phi1", "G2", "A1", "B1"), covariance=()),
    ).solver.module
    means = module.solve({"gamma": GAMMA, "eta": ETA}, {"Kx": [[1.0]], "y": [LABEL]}, steps=T)
    v = unpack(variables)
    pairs = (("Phi1", "Phi"), ("G2", "G"), ("A1", "A"), ("B1", "B"), ("f", "f"))
    for name, own in pairs:
        assert np.abs(means[name].reshape(v[own].shape) - v[own]).max() < 1e-8, name
    names = ("f", "Phi1", "G2")
    module = ds.compile_model(
        build_model("mlp", depth=2, activation="linear"), ds.Options(covariance=names)
    ).solver.module
    found = module.fluctuations({"gamma": GAMMA, "eta": ETA}, {"Kx": [[1.0]], "y": [LABEL]}, steps=T)
    start = dict(zip(SIZES, np.cumsum([0, *SIZES.values()]), strict=False))
    places = {"f": start["f"] + np.arange(T)}
    for name, own in (("Phi1", "Phi"), ("G2", "G")):
        place = np.zeros((T, T), dtype=int)
        place[LOWER] = start[own] + np.arange(6)
        places[name] = np.maximum(place, place.T).ravel()
    largest = np.abs(covariance[np.ix_(*[np.concatenate(list(places.values()))] * 2)]).max()
    for a, one in enumerate(names):
        for other in names[a:]:
            expected = covariance[np.ix_(places[one], places[other])]
            value = found[f"cov_{one}_{other}"].reshape(expected.shape)
            assert np.abs(value - expected).max() < 1e-6 * largest, (one, other)
            assert np.abs(value - 1.001 * expected).max() > 1e-6 * largest


def test_a_hessian_without_the_fluctuations_of_responses_is_another_one():
    """The negative control: with A and B held fixed the variance of f changes by more than a per cent."""
    _, covariance = dense_covariance()
    fixed = np.linalg.inv(covariance)
    start = dict(zip(SIZES, np.cumsum([0, *SIZES.values()]), strict=False))
    kept = np.ones(len(fixed), dtype=bool)
    for held in ("A", "B"):
        kept[start[held] : start[held] + SIZES[held]] = False
    without = np.linalg.inv(fixed[np.ix_(kept, kept)])
    f = start["f"] + np.arange(T)
    changed = without[np.ix_(f, f)] / covariance[np.ix_(f, f)]
    assert np.abs(changed - 1).max() > 0.01
