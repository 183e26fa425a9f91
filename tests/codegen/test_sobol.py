"""The Sobol table and the scrambled normals of a generated module; Gauss-Hermite rules."""

import math
import statistics
from itertools import product

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import qmc

from dmftsym.codegen.sobol import sobol_table


def points_of(table, bits):
    """All unscrambled points of the first `bits` direction numbers, as rows of 32-bit integers."""
    points = np.zeros((1, len(table)), dtype=np.uint32)
    for column in table[:, :bits].T:
        points = np.concatenate([points, points ^ column])
    return points


def test_direction_numbers_are_those_that_were_published(recurrent):
    """Joe & Kuo (2008): dimension 1 halves; m = 1, 3, 5, 15, 17, ... in dimension 2 and 1, 3, 1, 5, 31, ... later."""
    shifts = 31 - np.arange(8, dtype=np.uint32)
    assert list(recurrent.SOBOL[0, :8] >> shifts) == [1] * 8
    assert list(recurrent.SOBOL[1, :8] >> shifts) == [1, 3, 5, 15, 17, 51, 85, 255]
    numbers = [1, 3, 1]  # dimension 4 in their list: polynomial of degree 3 with a = 1
    while len(numbers) < 8:
        numbers.append(4 * numbers[-2] ^ 8 * numbers[-3] ^ numbers[-3])
    assert any(list(row[:8] >> shifts) == numbers for row in recurrent.SOBOL[2:5])


def test_points_are_those_of_scipy(recurrent):
    dimensions, bits = recurrent.SOBOL.shape
    assert sobol_table()[1] == (dimensions, bits) and dimensions >= 64
    expected = qmc.Sobol(dimensions, scramble=False, bits=32).random_base2(10) * 2.0**32
    found = points_of(recurrent.SOBOL, 10)
    assert set(map(tuple, found.tolist())) == set(map(tuple, expected.astype(np.int64).tolist()))
    wrong = recurrent.SOBOL.copy()
    wrong[17, 6] ^= 1 << 20  # negative control: one bit
    assert set(map(tuple, points_of(wrong, 10).tolist())) != set(map(tuple, found.tolist()))


def test_all_bits_are_those_of_scipy(recurrent):
    bits = recurrent.SOBOL.shape[1]
    expected = qmc.Sobol(3, scramble=False, bits=32).random_base2(bits) * 2.0**32
    found = points_of(recurrent.SOBOL[:3], bits)
    order = lambda rows: rows[np.lexsort(rows.T)]
    assert np.array_equal(order(found.astype(np.int64)), order(expected.astype(np.int64)))


def test_a_damaged_cache_does_not_change_the_table(tmp_path, monkeypatch):
    expected = sobol_table()
    monkeypatch.setenv("DMFTSYM_CACHE", str(tmp_path))
    for _ in range(2):
        sobol_table.cache_clear()
        assert sobol_table() == expected
        for path in tmp_path.glob("**/*.txt"):
            path.write_text(path.read_text()[:-5] + "0" * 5)
    sobol_table.cache_clear()


def is_stratified(row) -> bool:
    """Whether each of len(row) cells of equal probability holds one point."""
    return np.array_equal(np.sort(np.floor(ndtr(row) * len(row))), np.arange(len(row)))


@pytest.mark.parametrize("count", (1, 2, 64, 1024))
def test_every_projection_is_stratified(count, recurrent):
    normals = recurrent.sobol_normals(20, count, np.random.default_rng(5))
    assert normals.shape == (20, count) and np.isfinite(normals).all()
    assert all(map(is_stratified, normals))


def test_plain_random_numbers_are_not_stratified():
    assert not is_stratified(np.random.default_rng(5).standard_normal(64))


def test_pairs_of_dimensions_fill_the_square(recurrent):
    """The first two dimensions are a (0, m, 2)-net: one of 256 points in every box of 16 x 16 and of 4 x 64."""
    uniform = ndtr(recurrent.sobol_normals(2, 256, np.random.default_rng(2)))
    for shape in ((16, 16), (4, 64), (128, 2)):
        cells = np.floor(uniform * np.array(shape)[:, None]).astype(int)
        assert len(set(map(tuple, cells.T.tolist()))) == 256


def test_seeds_change_the_points_and_reproduce_them(recurrent):
    draw = lambda seed: recurrent.sobol_normals(5, 32, np.random.default_rng(seed))
    assert np.array_equal(draw(0), draw(0))
    assert len({float(draw(seed)[2, 7]) for seed in range(10)}) == 10


def corner(normals):
    """A function of two normals with mean 1/8: positive quadrant, above the diagonal."""
    return ((normals[1] > normals[0]) & (normals[0] > 0)).mean()


def test_the_mean_over_scramblings_is_unbiased(recurrent):
    means = [corner(recurrent.sobol_normals(2, 8, np.random.default_rng(seed))) for seed in range(3000)]
    error = np.std(means) / math.sqrt(len(means))
    assert abs(np.mean(means) - 1 / 8) < 4 * error < 0.01
    fixed = qmc.Sobol(2, scramble=False).random_base2(3) + 1 / 16
    assert abs(corner(fixed - 0.5) - 1 / 8) > 4 * error  # negative control: the unscrambled points are biased


def test_scrambling_beats_plain_sampling(recurrent):
    """The spread of a smooth average over 512 points is far below that of random points, 1/sqrt(512) of the spread."""
    smooth = lambda z: np.exp(0.3 * z.sum(0)).mean()
    found = [smooth(recurrent.sobol_normals(4, 512, np.random.default_rng(s))) for s in range(50)]
    expected = math.exp(0.5 * 4 * 0.09)
    plain = expected * math.sqrt((math.exp(4 * 0.09) - 1) / 512)
    assert np.std(found) < 0.2 * plain
    assert abs(np.mean(found) - expected) < 5 * np.std(found) / math.sqrt(50)


def test_dimensions_beyond_the_table_are_random_normals(recurrent):
    known = len(recurrent.SOBOL)
    normals = recurrent.sobol_normals(known + 30, 2048, np.random.default_rng(3))
    assert normals.shape == (known + 30, 2048)
    assert all(map(is_stratified, normals[:known])) and not any(map(is_stratified, normals[known:]))
    rest = normals[known:]
    moments = [(rest, 0.0, 1.0), (rest**2, 1.0, 2.0), (rest**4, 3.0, 96.0)]
    for values, mean, variance in moments:
        assert abs(values.mean() - mean) < 4 * math.sqrt(variance / values.size)
    correlations = np.corrcoef(normals) - np.eye(len(normals))
    assert np.abs(correlations[known:]).max() < 6 / math.sqrt(2048)


def test_more_points_than_the_table_has_bits(recurrent):
    count = 2 ** (min(recurrent.SOBOL.shape[1], 20) + 1)
    normals = recurrent.sobol_normals(1, count, np.random.default_rng(0))
    assert normals.shape == (1, count) and abs(normals.mean()) < 5 / math.sqrt(count)


def moment(power: int) -> int:
    """The mean of the power of a standard normal number: (n - 1)!! for even n, else 0."""
    return 0 if power % 2 else math.prod(range(1, power, 2))


@pytest.mark.parametrize(("dimensions", "nodes"), [(1, 2), (1, 9), (2, 4), (3, 3)])
def test_hermite_rule_is_exact_up_to_its_degree(dimensions, nodes, recurrent):
    points, weights = recurrent.hermite_rule(dimensions, nodes)
    assert points.shape == (dimensions, len(weights))
    average = lambda powers: weights @ np.prod([p**k for p, k in zip(points, powers, strict=True)], axis=0)
    for powers in product(range(2 * nodes), repeat=dimensions):
        scale = math.prod(moment(2 * k) for k in powers) ** 0.5
        assert abs(average(powers) - math.prod(map(moment, powers))) < 1e-13 * scale
    beyond = (2 * nodes,) + (0,) * (dimensions - 1)  # negative control: one degree more is not exact
    assert abs(average(beyond) - moment(2 * nodes)) > 1e-3


@pytest.mark.parametrize(("dimensions", "nodes"), [(0, 1), (1, 1), (1, 64), (2, 40), (3, 28), (1, 200)])
def test_hermite_weights_sum_to_one(dimensions, nodes, recurrent):
    points, weights = recurrent.hermite_rule(dimensions, nodes)
    assert points.shape == (dimensions, len(weights))
    assert weights.min() > 0 and abs(weights.sum() - 1) < 1e-14


def test_inverse_normal_agrees_with_the_standard_library(recurrent):
    """All scales down to the smallest uniform number, 2**-33; one coefficient changed in its sixth digit shows."""
    ends = np.concatenate([np.arange(200), 2 ** np.arange(8, 31), np.linspace(0, 2**31, 2001).astype(int)])
    words = np.concatenate([ends, 2**32 - 1 - ends]).astype(np.uint32)
    uniform = (words + 0.5) / 2.0**32
    expected = np.array([statistics.NormalDist().inv_cdf(u) for u in uniform])
    error = lambda values: np.abs(values - expected)[expected != 0] / np.abs(expected[expected != 0])
    assert error(recurrent._inverse_normal(words)).max() < 1e-14
    for name in ("_CENTRE", "_TAIL"):
        original = getattr(recurrent, name)
        wrong = ((*original[0][:-1], original[0][-1] * (1 + 1e-06)), original[1])
        try:
            setattr(recurrent, name, wrong)
            assert error(recurrent._inverse_normal(words)).max() > 1e-8
        finally:
            setattr(recurrent, name, original)
