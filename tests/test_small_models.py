"""Updates of small models (csrc/fastrbm/algorithms/small.c): the same bits as the general way."""

import adapters
import numpy as np
import pytest

from fastrbm import _lib, train_cd

levels = pytest.mark.parametrize("level", _lib.simd_levels())

TWO_STATE = ("bernoulli", "spin")

#: Visible and hidden units: one, whole and part vectors, the most that is small, and one more.
SIZES = [
    (1, 1), (5, 3), (16, 16), (17, 15), (20, 10), (10, 20), (31, 32), (32, 32), (33, 8), (9, 33),
]  # fmt: skip

OPTIONS = {
    "one step": {},
    "three steps": {"k": 3},
    "chains of their own": {"persistent": True, "n_chains": 7, "k": 2},
    "more chains than rows": {"persistent": True, "n_chains": 16},
    "too many chains": {"persistent": True, "n_chains": 17},
    "plain": {"momentum": 0.0, "weight_decay": 0.0},
    "heavy": {"momentum": 0.9, "weight_decay": 0.1},
    "no biases": {"freeze": ("visible_bias", "hidden_bias")},
    "fixed weights": {"freeze": ("weights",)},
    "clipped": {"max_norm": 0.05},
    "samples": {"statistics": "samples"},
}


def trained(kernel, visible, hidden, n, p, *, n_rows=53, dtype="float32", **options):
    """A model after two epochs. `kernel="rows"` has no way of its own for small models."""
    model = adapters.to_rbm(adapters.random_model(visible, hidden, n, p, scale=0.5), dtype)
    data = adapters.random_states(visible, n_rows, n).astype(np.int8)
    options = {"batch_size": 10, "learning_rate": 0.1, "n_epochs": 2, **options}
    return train_cd(data, model=model, kernel=kernel, rng=9, **options)


def check_same(*args, **options):
    found, expected = (trained(kernel, *args, **options) for kernel in ("auto", "rows"))
    assert found.model == expected.model
    np.testing.assert_array_equal(found.chains, expected.chains)
    for name, values in expected.history.items():
        if "seconds" not in name:
            np.testing.assert_array_equal(found.history[name], values, err_msg=name)


@levels
@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize(("n", "p"), SIZES)
@pytest.mark.parametrize("visible", TWO_STATE)
@pytest.mark.parametrize("hidden", TWO_STATE)
def test_every_size(level, dtype, visible, hidden, n, p):
    with _lib.use_simd(level):
        check_same(visible, hidden, n, p, dtype=dtype)


@levels
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17])
@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "bernoulli"), ("spin", "spin")])
def test_every_batch(level, batch_size, visible, hidden):
    """The last mini-batch is a shorter one."""
    with _lib.use_simd(level):
        check_same(visible, hidden, 20, 10, batch_size=batch_size)
        check_same(visible, hidden, 12, 18, batch_size=batch_size)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "spin"), ("spin", "bernoulli")])
def test_every_option(visible, hidden, options):
    check_same(visible, hidden, 20, 10, **options)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_threads(n_threads):
    """k is so large that several threads would share the update if it were not small."""
    check_same("bernoulli", "bernoulli", 32, 30, batch_size=16, k=50, n_threads=n_threads)


def test_less_data_than_a_batch():
    check_same("bernoulli", "bernoulli", 20, 10, n_rows=3, batch_size=100)


def test_the_draws_that_need_all_their_bits():
    """16 bits leave a draw in 7,000 in doubt: there are some among these."""
    check_same("bernoulli", "bernoulli", 32, 32, n_rows=2000, n_epochs=5)
    check_same("spin", "spin", 20, 10, n_rows=2000, n_epochs=5)
