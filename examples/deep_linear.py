"""Fluctuations of deep linear networks: figure 4 of arXiv:2304.03408.

Three hidden linear layers, one training point with K^x = 1 and y = 1, centred, eta = 0.015: N Var Delta during training
for several richness parameters gamma, exact (all sites are linear, so every average is Gaussian).

    python examples/deep_linear.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import dmftsym as ds

HERE = Path(__file__).parent

GAMMAS = (0.5, 1, 2, 3)


def main(gammas=GAMMAS, steps=30, folder=HERE / "out"):
    """Solve for every gamma, print the peaks of N Var Delta and draw the figure; returns the results by gamma."""
    model = ds.build_model("mlp", depth=3, activation="linear", centered=True)
    solver = ds.compile_model(model, ds.Options(outputs=("Delta",), covariance=("Delta",)))
    results = {g: solver.solve({"gamma": g, "eta": 0.015}, {"Kx": [[1.0]], "y": [1.0]}, steps=steps) for g in gammas}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for gamma, result in results.items():
        variance = np.diag(result.cov_Delta_Delta.values.reshape(steps, steps))
        print(f"gamma = {gamma}: peak of N Var Delta {variance.max():.3f} at step {variance.argmax()}")
        left.plot(result.time, result.Delta[0], label=rf"$\gamma$ = {gamma}")
        right.plot(result.time, variance)
    left.set(xlabel="step", ylabel=r"$\Delta$, infinite width")
    right.set(xlabel="step", ylabel=r"$N\,\mathrm{Var}\,\Delta$")
    left.legend(frameon=False)
    Path(folder).mkdir(exist_ok=True)
    figure.savefig(Path(folder) / "deep_linear.png", dpi=150)
    plt.close(figure)
    return results


if __name__ == "__main__":
    main()
