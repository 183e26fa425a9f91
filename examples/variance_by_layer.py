"""How the fluctuations of a finite network build up through its layers, from the theory alone.

A network with three hidden tanh layers learns one point. The variance of the feature kernel Phi^l(t, t), relative to
its mean squared, grows with every layer, as every layer adds its own sampling noise to what it gets from below; while
the network learns, it falls, most in the deepest layers.

    python examples/variance_by_layer.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import dmftsym as ds

HERE = Path(__file__).parent

DEPTH = 3


def build():
    """The library's network, with the feature kernels at equal times as quantities of their own."""
    model = ds.build_model("mlp", depth=DEPTH, activation="tanh")
    t, mu = model.index_symbols["t"], model.index_symbols["mu"]
    for layer in range(1, DEPTH + 1):
        Phi = model.tensors[f"Phi{layer}"]
        model.define(f"feature{layer}", mu, t, Phi[mu, t, mu, t], latex=rf"\Phi^{{{layer}}}(t,t)")
    return model


def main(gamma=1.5, eta=0.2, steps=12, points=None, folder=HERE / "out"):
    """Solve, print the relative variances at the start and at the end, and draw the figure; returns the result."""
    names = tuple(f"feature{layer}" for layer in range(1, DEPTH + 1))
    solver = ds.compile_model(build(), ds.Options(outputs=names, covariance=names))
    result = solver.solve(
        {"gamma": gamma, "eta": eta}, {"Kx": [[1.0]], "y": [1.0]}, steps=steps, covariance_points=points
    )
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for layer, name in enumerate(names, 1):
        keys = (name, f"cov_{name}_{name}", f"se_cov_{name}_{name}")
        mean, cov, error = (result[key].values.reshape(steps, -1) for key in keys)
        relative, error = np.diag(cov)/mean[:, 0]**2, np.diag(error)/mean[:, 0]**2
        print(f"N Var Phi^{layer} / (Phi^{layer})^2: {relative[0]:.3f} at the start, {relative[-1]:.3f} at the end")
        axes.errorbar(result.time, relative, error, label=rf"$\ell = {layer}$", capsize=2)
    axes.set(xlabel="step", ylabel=r"$N\,\mathrm{Var}\,\Phi^\ell(t,t)\,/\,\Phi^\ell(t,t)^2$")
    axes.legend(frameon=False, title=rf"tanh, $\gamma = {gamma}$")
    Path(folder).mkdir(exist_ok=True)
    figure.savefig(Path(folder) / "variance_by_layer.png", dpi=150)
    plt.close(figure)
    return result


if __name__ == "__main__":
    main()
