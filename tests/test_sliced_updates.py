"""Updates by slices of the visible units (csrc/fastrbm/algorithms/slices.c)."""

import adapters
import numpy as np
import pytest

from fastrbm import _lib, train_cd
from fastrbm.validation import KERNELS

levels = pytest.mark.parametrize("level", _lib.simd_levels())
pairs = pytest.mark.parametrize(
    ("visible", "hidden"),
    [(v, h) for v in ("bernoulli", "spin") for h in ("bernoulli", "spin", "gaussian")],
)

#: Visible and hidden units: the least that has two slices, whole and part slices, and strips of
#: 64 hidden units.
SIZES = [(129, 1), (192, 10), (256, 64), (300, 65), (784, 33), (385, 130)]

OPTIONS = {
    "one step": {},
    "three steps": {"k": 3},
    "chains of their own": {"persistent": True, "n_chains": 7, "k": 2},
    "more chains than rows": {"persistent": True, "n_chains": 40},
    "one row": {"batch_size": 1, "learning_rate": 1e-4},
    "as many rows as tables take": {"batch_size": 16},
    "more rows than tables take": {"batch_size": 17},
    "more rows than a word": {"batch_size": 70},
    "less data than a batch": {"batch_size": 100},
    "plain": {"momentum": 0.0, "weight_decay": 0.0},
    "no biases": {"freeze": ("visible_bias", "hidden_bias")},
    "fixed weights": {"freeze": ("weights",)},
}

#: No gradient is so long; but where its norm is looked at, updates are made in the general way.
GENERAL = {"max_norm": 1e9}


def trained(visible, hidden, n, p, *, n_rows=83, dtype="float32", **options):
    model = adapters.to_rbm(adapters.random_model(visible, hidden, n, p, scale=0.05), dtype)
    data = adapters.random_states(visible, n_rows, n).astype(np.int8)
    options = {"batch_size": 10, "learning_rate": 0.01, "n_epochs": 2, **options}
    return train_cd(data, model=model, rng=9, **options)


def check_equal(found, expected):
    assert found.model == expected.model
    np.testing.assert_array_equal(found.chains, expected.chains)
    for name, values in expected.history.items():
        if "seconds" not in name:
            np.testing.assert_array_equal(found.history[name], values, err_msg=name)


def check_close(found, expected):
    """Sums are rounded otherwise; in double precision no draw of a test notices."""
    a, b = found.model, expected.model
    np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=1e-12)
    for layer, other in ((a.visible, b.visible), (a.hidden, b.hidden)):
        np.testing.assert_allclose(layer.bias, other.bias, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.chains, expected.chains)


@levels
@pairs
@pytest.mark.parametrize(("n", "p"), SIZES)
def test_every_size(level, visible, hidden, n, p):
    with _lib.use_simd(level):
        found = trained(visible, hidden, n, p, dtype="float64")
        check_close(found, trained(visible, hidden, n, p, dtype="float64", **GENERAL))


@pairs
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option(visible, hidden, options):
    found = trained(visible, hidden, 300, 20, dtype="float64", **options)
    check_close(found, trained(visible, hidden, 300, 20, dtype="float64", **options, **GENERAL))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "bernoulli"), ("spin", "gaussian")])
@pytest.mark.parametrize("dtype", adapters.DTYPES)
def test_threads(visible, hidden, dtype, options):
    """The same bits for every number of threads: more than there are slices, too."""
    alone = trained(visible, hidden, 500, 70, dtype=dtype, n_threads=1, **options)
    for n_threads in (2, 3, 4, 7):
        found = trained(visible, hidden, 500, 70, dtype=dtype, n_threads=n_threads, **options)
        check_equal(found, alone)


@levels
@pytest.mark.parametrize("batch_size", [10, 50])
@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "bernoulli"), ("spin", "spin")])
def test_kernels(level, visible, hidden, batch_size):
    """The same bits whichever way products of bits are made."""
    options = {"batch_size": batch_size, "n_threads": 2}
    with _lib.use_simd(level):
        expected = trained(visible, hidden, 300, 20, **options)
        for kernel in KERNELS:
            check_equal(trained(visible, hidden, 300, 20, kernel=kernel, **options), expected)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_chains_that_go_on(n_threads):
    """Chains are handed in and out row by row, as the general way does it."""
    options = {"persistent": True, "n_chains": 12, "n_threads": n_threads, "dtype": "float64"}
    first = trained("spin", "bernoulli", 333, 20, **options)
    check_close(first, trained("spin", "bernoulli", 333, 20, **options, **GENERAL))
    options["chains"] = first.chains
    second = trained("spin", "bernoulli", 333, 20, **options)
    check_close(second, trained("spin", "bernoulli", 333, 20, **options, **GENERAL))
    assert (first.chains != second.chains).any()
