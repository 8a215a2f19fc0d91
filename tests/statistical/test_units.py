"""Units of one layer, 1e8 draws each: frequencies, joint states, moments and correlations."""

import adapters
import numpy as np
import pytest
from reference import checks
from reference.checks import ALPHA
from scipy.special import expit, ndtr

import fastrbm

# An odd number of them, so that each comes to every place of the eight units of a block.
LOG_ODDS = np.array([0, 0.3, -0.3, 2, -2, 6, -6, 11, -11])
N_CALLS, N_ROWS = 100, 13_900
CORRELATED = 6.0  # standard errors

dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)


class Correlations:
    """Of all pairs of units, in one row and in two neighbouring ones, in standard errors."""

    def __init__(self, n):
        self.sums = np.zeros((2, n, n))
        self.n_rows = np.zeros((2, 1, 1))

    def add(self, z):
        """Standardised draws (rows, units), an even number of rows."""
        z = z.astype(np.float32)
        self.sums += z.T @ z, z[::2].T @ z[1::2]
        self.n_rows += np.reshape([len(z), len(z) // 2], (2, 1, 1))

    def largest(self):
        sums = self.sums / np.sqrt(self.n_rows)
        np.fill_diagonal(sums[0], 0.0)
        return np.abs(sums).max()


@pytest.mark.slow
@dtypes
@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
def test_two_state_units(unit, dtype):
    """How often each is high, the 256 states of each block of eight, and all pairs of units."""
    n = 8 * len(LOG_ODDS)
    log_odds = np.resize(LOG_ODDS, n)
    kind, width = {"bernoulli": (fastrbm.Bernoulli, 1), "spin": (fastrbm.Spin, 2)}[unit]
    layer = kind(n, bias=np.asarray(log_odds / width / 4, dtype))
    x = np.broadcast_to(log_odds / width * 3 / 4, (N_ROWS, n))
    p = expit(log_odds)
    even = np.abs(log_odds) <= 2  # pairs of rarer states are too few for a correlation
    rng = np.random.default_rng(21)
    counts = np.zeros((n // 8, 256))
    correlations = Correlations(even.sum())
    for _ in range(N_CALLS):
        up = layer.sample(x, rng=rng, dtype=np.int8) > 0
        for block, states in enumerate(np.packbits(up, axis=1, bitorder="little").T):
            counts[block] += np.bincount(states, minlength=256)
        correlations.add((up[:, even] - p[even]) / np.sqrt(p[even] * (1 - p[even])))

    high = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)
    laws = [np.where(high, block, 1 - block).prod(1) for block in p.reshape(-1, 8)]
    p_values = [
        checks.chi_square_of_counts(count, law) for count, law in zip(counts, laws, strict=True)
    ]
    n_high = (counts @ high).ravel()
    for value in LOG_ODDS:
        ups, of = n_high[log_odds == value].sum(), 8 * counts[0].sum()
        law = np.array([expit(-value), expit(value)])
        p_values.append(checks.chi_square_of_counts(np.array([of - ups, ups]), law))
    assert checks.worst(p_values) > ALPHA
    assert correlations.largest() < CORRELATED


@pytest.mark.slow
@dtypes
def test_gaussian_units(dtype):
    """4096 equally likely cells, the first four moments, and all pairs of units."""
    n = 8 * len(LOG_ODDS)
    layer = fastrbm.Gaussian(n, bias=np.full(n, 0.25, dtype), precision=np.full(n, 4.0, dtype))
    x = np.full((N_ROWS, n), 0.25, dtype)
    rng = np.random.default_rng(22)
    counts, moments = np.zeros(4096), np.zeros(4)
    correlations = Correlations(n)
    for _ in range(N_CALLS):
        z = (layer.sample(x, rng=rng).astype(float) - 0.125) * 2
        counts += np.bincount((ndtr(z) * 4096).astype(int).ravel(), minlength=4096)
        square = z * z
        moments += [z.sum(), square.sum(), (square * z).sum(), (square * square).sum()]
        correlations.add(z)
    n_draws = counts.sum()
    assert checks.chi_square_of_counts(counts, np.full(4096, 1 / 4096)) > ALPHA
    errors = np.sqrt(np.array([1, 2, 15, 96]) / n_draws)
    assert np.abs((moments / n_draws - [0, 1, 0, 3]) / errors).max() < 6
    assert correlations.largest() < CORRELATED
