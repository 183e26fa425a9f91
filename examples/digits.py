"""A two-layer network learns to tell handwritten threes from fives, in the limit of infinite width.

Compiles the library model `mlp` (arXiv:2304.03408), solves it on the twelve training images of digits.npz with four
test images, and draws the predictions and the tangent kernel before and after training into out/digits.png.

    python examples/digits.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import dmftsym as ds

HERE = Path(__file__).parent


def load_images():
    """The images with all pixels shifted and scaled by the mean and spread of the training set."""
    with np.load(HERE / "digits.npz") as file:
        images = dict(file)
    mean, spread = images["X"].mean(), images["X"].std()
    scaled = {name: (images[name] - mean)/spread for name in ("X", "X_test")}
    return {**scaled, "y": images["y"]}, images["y_test"]


def main(steps=120, points=None, folder=HERE / "out"):
    """Solve and draw; returns the result as an xarray.Dataset."""
    data, y_test = load_images()
    solver = ds.compile_model(ds.build_model("mlp", activation="tanh", test=True))
    result = solver.solve({"gamma": 1, "eta": 0.05}, data, steps=steps, points=points, progress=True)

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    colour = {1: "tab:blue", -1: "tab:orange"}
    for values, errors, labels, style in (
        (result.f, result.se_f, data["y"], "-"), (result.f_test, result.se_f_test, y_test, "--")
    ):
        for curve, error, label in zip(values, errors, labels, strict=True):
            axes[0].plot(result.time, curve, style, color=colour[int(label)], lw=1)
            band = curve - 2*error, curve + 2*error
            axes[0].fill_between(result.time, *band, color=colour[int(label)], alpha=0.2, lw=0)
    axes[0].set(xlabel="step", ylabel="$f_\\mu(t)$", title="threes up, fives down; dashed: test images")
    limit = float(abs(result.K).max())
    for axis, when, title in ((axes[1], 0, "before"), (axes[2], -1, "after")):
        picture = axis.imshow(result.K[:, :, when], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set(title=f"tangent kernel {title} training", xlabel="image", ylabel="image")
    figure.colorbar(picture, ax=axes[1:])
    Path(folder).mkdir(exist_ok=True)
    figure.savefig(Path(folder) / "digits.png", dpi=150)
    plt.close(figure)
    print(f"{result.attrs['measure']}; written to {Path(folder) / 'digits.png'}")
    return result


if __name__ == "__main__":
    main()
