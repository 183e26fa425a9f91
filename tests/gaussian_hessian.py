"""N Cov = −H^{-1} of an action whose sites are Gaussian: dense, over all variables, with nothing of the package.

A site with fields and response fields v of all times and S_site = ½ v^T Q v has ln Z = −½ ln det(−Q) + const. An action
is given by `pair_terms(variables)` and `forms(variables)`, the matrices Q, for one long vector of all variables.
"""

import numpy as np


class GaussianAction:
    """S = pair_terms + Σ ln Z over the sites; differentiated to rounding by complex steps."""

    def __init__(self, pair_terms, forms):
        self.pair_terms, self.forms = pair_terms, forms

    def gradient(self, variables, step=1e-30):
        """dS: that of ln Z is −½ tr(Q^{-1} dQ)."""
        inverses = [np.linalg.inv(Q) for Q in self.forms(variables)]
        result = np.zeros(len(variables))
        for k in range(len(variables)):
            moved = variables.astype(complex)
            moved[k] += 1j * step
            change = [Q.imag / step for Q in self.forms(moved)]
            traces = sum(np.trace(inverse @ dQ) for inverse, dQ in zip(inverses, change, strict=True))
            result[k] = np.imag(self.pair_terms(moved)) / step - traces / 2
        return result

    def covariance(self, variables, step=1e-4):
        """−H^{-1}, the Hessian by central differences of fourth order of the gradient."""
        columns = []
        for k in range(len(variables)):
            moved = [self.gradient(variables + s * step * (np.arange(len(variables)) == k)) for s in (-2, -1, 1, 2)]
            columns.append((moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step))
        return -np.linalg.inv(np.array(columns))


class Layout:
    """Names and shapes of the parts of the vector of variables: ("lower", T) is a symmetric T×T matrix."""

    def __init__(self, **shapes):
        self.shapes, self.slices, start = shapes, {}, 0
        for name, shape in shapes.items():
            size = shape[1] * (shape[1] + 1) // 2 if shape[0] == "lower" else int(np.prod(shape))
            self.slices[name] = slice(start, start + size)
            start += size
        self.size = start

    def unpack(self, variables):
        """The parts by name; of a conjugate ("..._hat") of a symmetric matrix the lower triangle alone is filled."""
        result = {}
        for name, shape in self.shapes.items():
            part = variables[self.slices[name]]
            if shape[0] != "lower":
                result[name] = part.reshape(shape)
                continue
            matrix = np.zeros((shape[1], shape[1]), dtype=variables.dtype)
            matrix[np.tril_indices(shape[1])] = part
            result[name] = matrix if name.endswith("_hat") else matrix + np.tril(matrix, -1).T
        return result

    def pack(self, **parts):
        """One vector of all variables, zero where nothing is given."""
        result = np.zeros(self.size)
        for name, value in parts.items():
            shape = self.shapes[name]
            result[self.slices[name]] = value[np.tril_indices(shape[1])] if shape[0] == "lower" else np.ravel(value)
        return result

    def places(self, name):
        """The places in the vector of all entries of a part, in its full shape."""
        places, shape = np.arange(self.slices[name].start, self.slices[name].stop), self.shapes[name]
        if shape[0] != "lower":
            return places.reshape(shape)
        full = np.zeros((shape[1], shape[1]), dtype=int)
        full[np.tril_indices(shape[1])] = places
        return np.maximum(full, full.T)
