"""The ways of making products of bits, and the argument `kernel` that chooses among them."""

import adapters
import numpy as np
import pytest
from reference import models

import fastrbm
from fastrbm import _lib, sample, train_cd, train_exact
from fastrbm.validation import KERNELS

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
levels = pytest.mark.parametrize("level", _lib.simd_levels())

#: Empty, sparse, dense and full rows: each way is the cheaper one for some of them.
DENSITIES = (0.0, 0.02, 0.1, 0.5, 1.0)


def states(unit, n_rows, n, density, dtype=np.int8):
    bits = np.random.default_rng(n_rows * n).random((n_rows, n)) < density
    return (2 * bits - 1 if unit == "spin" else bits).astype(dtype)


@levels
@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize(
    ("n_rows", "n", "p"),
    [(1, 1, 1), (3, 5, 2), (7, 64, 16), (10, 65, 17), (40, 130, 100), (300, 203, 70)],
)
def test_every_path_gives_the_same_bits(level, dtype, unit, density, n_rows, n, p):
    """And these are the sums over the selected weights."""
    rng = np.random.default_rng(n)
    layer = {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin}[unit](n)
    weights = rng.normal(size=(n, p)).astype(dtype)
    rbm = fastrbm.RBM(layer, fastrbm.Gaussian(p), weights=weights)
    v = states(unit, n_rows, n, density)
    outs = {}
    with _lib.use_simd(level):
        for path in KERNELS:
            outs[path] = np.empty((n_rows, p), dtype)
            rbm._core.mean(_lib.executor(1, path), "hidden", v, 1.0, outs[path])
    for path in KERNELS[1:]:
        np.testing.assert_array_equal(outs["auto"], outs[path], err_msg=path)
    exact = v.astype(np.float64) @ weights.astype(np.float64)
    # A sum of n terms is wrong by less than n u times the sum of their sizes.
    bound = (n + 2) * np.finfo(dtype).eps / 2 * np.abs(v).astype(np.float64) @ np.abs(weights)
    assert (np.abs(outs["auto"] - exact) <= bound).all()


@levels
@pytest.mark.parametrize("path", KERNELS)
def test_a_row_does_not_depend_on_the_others(level, path):
    rng = np.random.default_rng(1)
    rbm = fastrbm.RBM(
        fastrbm.Bernoulli(90), fastrbm.Bernoulli(33), weights=rng.normal(size=(90, 33))
    )
    v = states("bernoulli", 50, 90, 0.3)
    with _lib.use_simd(level):
        executor = _lib.executor(1, path)
        together, alone = np.empty((50, 33)), np.empty((1, 33))
        rbm._core.mean(executor, "hidden", v, 1.0, together)
        for r in range(50):
            rbm._core.mean(executor, "hidden", v[r : r + 1], 1.0, alone)
            np.testing.assert_array_equal(alone[0], together[r])


@pairs
def test_training_and_sampling_do_not_depend_on_the_path(visible, hidden):
    model = adapters.random_model(visible, hidden, 70, 20, scale=0.1)
    data = adapters.random_states(visible, 130, 70)
    if visible != "gaussian":
        data = data.astype(np.int8)
    rbm = adapters.to_rbm(model, "float32")
    options = {"model": rbm, "k": 2, "batch_size": 17, "n_epochs": 2, "learning_rate": 0.01}
    trained = [train_cd(data, rng=3, kernel=path, **options) for path in KERNELS]
    drawn = [sample(rbm, n_chains=40, n_draws=2, rng=4, kernel=path) for path in KERNELS]
    for path, result, draws in zip(KERNELS, trained, drawn, strict=True):
        assert result.info["kernel"] == draws.info["kernel"] == path
        assert result.model == trained[0].model
        np.testing.assert_array_equal(draws.visible, drawn[0].visible)
        np.testing.assert_array_equal(draws.hidden, drawn[0].hidden)


#: Pairs and sizes at which one layer has fewer tiles than threads and tables are used, and a sweep
#: of 30 chains is work enough for threads.
SHARED_WORDS = [
    ("bernoulli", "bernoulli", 500, 33),
    ("spin", "spin", 500, 40),
    ("bernoulli", "spin", 400, 64),
    ("spin", "gaussian", 500, 50),
    ("bernoulli", "bernoulli", 60, 500),
    ("spin", "bernoulli", 100, 400),
    ("gaussian", "bernoulli", 60, 500),
    ("gaussian", "spin", 100, 400),
]


@pytest.mark.parametrize(("visible", "hidden", "n", "p"), SHARED_WORDS)
def test_threads_that_share_words_of_states(visible, hidden, n, p):
    """Two threads compute the halves of each word, clamped units among them."""
    model = adapters.to_rbm(adapters.random_model(visible, hidden, n, p, scale=0.05), "float32")
    data = adapters.random_states(visible, 200, n).astype(
        np.float32 if visible == "gaussian" else np.int8
    )
    clamp = np.arange(n) < 2 * n // 3
    options = {"model": model, "batch_size": 67, "k": 2, "n_epochs": 1, "rng": 5}
    options["learning_rate"] = 0.001
    trained, drawn = [], []
    for n_threads in (1, 2, 3, 7):
        trained.append(train_cd(data, persistent=True, n_chains=90, n_threads=n_threads, **options))
        drawn.append(
            sample(
                model, init=data[:30], clamp=clamp, n_draws=3, burn_in=2, rng=6, n_threads=n_threads
            )
        )
        assert trained[-1].model == trained[0].model
        np.testing.assert_array_equal(trained[-1].chains, trained[0].chains)
        np.testing.assert_array_equal(drawn[-1].visible, drawn[0].visible)
        np.testing.assert_array_equal(drawn[-1].hidden, drawn[0].hidden)
    start = np.repeat(data[:30, None], 3, axis=1)
    np.testing.assert_array_equal(drawn[0].visible[..., clamp], start[..., clamp])
    assert (drawn[0].visible[..., ~clamp] != start[..., ~clamp]).any(axis=(0, 1)).all()


@pytest.mark.parametrize("kernel", ["dense", "", None, 1])
def test_unknown_names_are_refused(kernel):
    data = fastrbm.datasets.bars_and_stripes(2)
    rbm = fastrbm.RBM(fastrbm.Bernoulli(4), fastrbm.Bernoulli(2))
    for call in (
        lambda: train_cd(data, n_hidden=2, kernel=kernel),
        lambda: train_exact(data, n_hidden=2, kernel=kernel),
        lambda: sample(rbm, kernel=kernel),
    ):
        with pytest.raises(
            (TypeError, ValueError), match="kernel must be one of 'auto', 'tables', 'rows'"
        ):
            call()
