"""Fluctuations of a two-layer network at finite width: figure 2 of arXiv:2304.03408.

One training point with K^x = 1 and y = 1, one test point at overlap 0.5156, phi(h) = tanh(0.4 h)/0.4, centred network,
eta = 0.01, 250 steps. Draws N Var of the error Delta, of the test prediction and of the tangent kernel for four values
of the richness gamma, with the mean dynamics beside them, into out/finite_width.png.

    python examples/finite_width.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import dmftsym as ds

HERE = Path(__file__).parent
OVERLAP = 0.5156


def variance(result, name, since_start=False):
    """N Var of a quantity with one sample at every time; `since_start`: of its change since time 0."""
    covariance = result[f"cov_{name}_{name}"].values.reshape(len(result.time), -1)
    change = np.diag(covariance)
    return change - 2*covariance[0] + covariance[0, 0] if since_start else change


def main(gammas=(0.5, 1, 2, 4), steps=250, folder=HERE / "out"):
    """Solve and draw; returns the results by gamma."""
    model = ds.build_model("mlp", activation="tanh(0.4*h)/0.4", centered=True, test=True)
    solver = ds.compile_model(model, ds.Options(covariance=("Delta", "f_test", "K")))
    data = {"Kx": [[1, OVERLAP], [OVERLAP, 1]], "y": [1]}
    results = {gamma: solver.solve({"gamma": gamma, "eta": 0.01}, data, steps=steps) for gamma in gammas}

    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    for gamma, result in results.items():
        time = 0.01*result.time
        curves = (
            result.Delta[0],
            variance(result, "Delta"),
            variance(result, "f_test", since_start=True),
            variance(result, "K"),
        )
        for axis, curve in zip(axes, curves, strict=True):
            axis.plot(time, curve, label=rf"$\gamma = {gamma}$")
    names = (r"\Delta", r"f_{\mathrm{test}}", "K")
    titles = (r"$\Delta$", *[rf"$N\,\mathrm{{Var}}\,{name}$" for name in names])
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel=r"$\eta t$")
    axes[0].legend(frameon=False)
    Path(folder).mkdir(exist_ok=True)
    figure.savefig(Path(folder) / "finite_width.png", dpi=150)
    plt.close(figure)
    for gamma, result in results.items():
        peak = variance(result, "Delta").max()
        late = variance(result, "f_test", since_start=True)[-1]
        print(f"gamma = {gamma}: peak of N Var Delta {peak:.4f}, N Var f_test at the end {late:.3f}, "
              f"N Var K at the start {variance(result, 'K')[0]:.4f}")
    return results


if __name__ == "__main__":
    main()
