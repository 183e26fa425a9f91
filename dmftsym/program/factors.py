"""The factor of an evolving covariance, row by row, in plain NumPy: what generated code does, written for reading."""

from dataclasses import dataclass, field

import numpy as np

JITTER = 1e-10  # relative to the variance, as in generated code


@dataclass
class Factor:
    """A Cholesky factor L, one column for every independent direction: `opened` lists the rows that opened one.

    `ranks`: the number of columns before every step; `basis`: whitened functions e of sample paths, values = L e.
    """

    rows: np.ndarray
    change: np.ndarray | None = None  # first-order changes of the rows, (columns, rows, directions)
    opened: list[int] = field(default_factory=list)
    ranks: list[int] = field(default_factory=lambda: [0])
    basis: list[np.ndarray] = field(default_factory=list)

    def extend(self, number: int, covariance: np.ndarray) -> None:
        """Add row `number`, from its covariances with all rows up to itself; a null direction opens no column."""
        row, variance = self.rows[number], covariance[number]
        left = variance * (1.0 + JITTER)
        for j, opened in enumerate(self.opened):
            row[j] = (covariance[opened] - row[:j] @ self.rows[opened, :j]) / self.rows[opened, j]
            left -= row[j] ** 2
        if left > 10.0 * JITTER * variance:
            row[len(self.opened)] = np.sqrt(left)
            self.opened.append(number)

    def vary(self, number: int, covariance: np.ndarray) -> None:
        """First-order change of row `number`, from those of its covariances, (columns, rows up to itself)."""
        assert self.change is not None
        row, change = self.rows[number], self.change[:, number]
        left = covariance[:, number] * (1.0 + JITTER)
        for j, opened in enumerate(self.opened):
            if opened > number:
                break
            if opened == number:
                change[:, j] = left / (2.0 * row[j])
                break
            mixed = change[:, :j] @ self.rows[opened, :j] + self.change[:, opened, :j] @ row[:j]
            value = (covariance[:, opened] - row[j] * self.change[:, opened, j] - mixed) / self.rows[opened, j]
            change[:, j] = value
            left = left - 2.0 * row[j] * value

    def whiten(self, values: np.ndarray, step: int) -> None:
        """One more function e for every column that the draw of this step has opened: values = L e."""
        known, rank = self.ranks[step], self.ranks[step + 1]
        for j in range(known, rank):
            row = self.rows[self.opened[j]]
            rest = sum((row[i] * self.basis[i] for i in range(j)), np.zeros(values.shape[1]))
            self.basis.append((values[self.opened[j] - step * len(values)] - rest) / row[j])


def square_root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def varied_square_root(root: np.ndarray, change: np.ndarray) -> np.ndarray:
    """First-order change of a factor F with F F^T = covariance, for changes (columns, size, size) of the covariance."""
    inverse = np.linalg.pinv(root, 1e-6)
    return 0.5 * root @ (inverse @ change @ inverse.T)
