"""What training reads from a data set: one pass that tells the values and sums the columns."""

import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, Bernoulli, Spin, _lib
from fastrbm._lib import core

VALUES = [
    (0, 1), (0,), (1,), (-1, 1), (-1,), (-1, 0), (-1, 0, 1), (0, 2), (2,), (1, 3), (-2, 0), (1, -3),
    (0, 1, 127), (-128, 1), (0, 1, -127), (-1, 1, 3),
]  # fmt: skip


def expected(x):
    values = set(np.unique(x).tolist())
    return {
        "min": x.min(),
        "max": x.max(),
        "has_zero": 0 in values,
        "has_one": 1 in values,
        "has_minus_one": -1 in values,
        "has_fraction": any(0 < v < 1 for v in values),
        "has_other": any(not 0 <= v <= 1 and v != -1 for v in values),
        "finite": True,
    }


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize("value", [1, 3])
def test_a_value_that_occurs_once(value, dtype):
    """Wherever it is: short rows are read together, and blocks of them by several threads."""
    for shape in (3, 5), (130, 20), (1000, 7), (300, 200):
        for row in 0, shape[0] // 2, shape[0] - 1:
            x = np.zeros(shape, dtype)
            x[row, shape[1] - 1] = value
            scan = core.scan(_lib.executor(2), x, True)
            assert (scan.has_one, scan.has_other) == (value == 1, value == 3)
            assert (scan.min, scan.max) == (0, value)
            np.testing.assert_array_equal(scan.column_sums, x.sum(axis=0))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("values", VALUES)
def test_scan(values, dtype):
    rng = np.random.default_rng(len(values) + len(dtype))
    executor = _lib.executor(2)
    for shape in (1, 1), (3, 15), (2, 16), (5, 40), (300, 33), (70, 2100):
        x = rng.choice(values, size=shape)
        x = (abs(x) if dtype == "uint8" else x).astype(dtype)
        for array in x, np.asfortranarray(x), x[:, ::-1], x[::2]:
            scan = core.scan(executor, array, True)
            for name, value in expected(array).items():
                assert getattr(scan, name) == value, name
            np.testing.assert_array_equal(scan.column_sums, array.sum(axis=0, dtype=float))
    assert core.scan(executor, x).column_sums is None


def test_scan_of_what_is_not_finite():
    x = np.zeros((200, 7))
    x[150, 3], x[180, 0] = np.nan, np.inf
    scan = core.scan(_lib.executor(2), x, True)
    assert not scan.finite
    assert scan.bad_index == (150, 3)


@pytest.mark.parametrize("layer", [Bernoulli, Spin])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 31, 64, 65, 130])
def test_bytes_are_packed_or_refused(layer, n):
    rng = np.random.default_rng(n)
    low = 0 if layer is Bernoulli else -1
    rbm = RBM(layer(n), Bernoulli(1), weights=np.zeros((n, 1)))
    x = rng.choice([low, 1], size=(9, n)).astype("int8")
    for where in range(n):
        for strange in {-1, 0, 2, 3, -127, -128, 127} - {low}:
            bad = x.copy()
            bad[5, where] = strange
            with pytest.raises(core.StateError):
                core.Data(_lib.executor(), rbm._core, bad)
    assert core.Data(_lib.executor(), rbm._core, x).packed
    # Chains that make no sweep are packed, and stored again.
    chains = fastrbm.sample(rbm, init=x, n_draws=0, burn_in=0).chains
    np.testing.assert_array_equal(chains, x)
