"""What one small call costs: a 20 x 10 model, 10 rows, int8 states."""

import numpy as np
import pytest

import fastrbm


@pytest.fixture(scope="module")
def rbm():
    return fastrbm.RBM(fastrbm.Bernoulli(20), fastrbm.Bernoulli(10), rng=0)


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(0).integers(2, size=(10, 20), dtype=np.int8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_sample_hidden(benchmark, rbm, states, rng):
    benchmark(rbm.sample_hidden, states, rng=rng)


def test_mean_hidden(benchmark, rbm, states):
    benchmark(rbm.mean_hidden, states)


def test_free_energy(benchmark, rbm, states):
    benchmark(rbm.free_energy, states)


def test_energy(benchmark, rbm, states):
    benchmark(rbm.energy, states, states[:, :10])


def test_sample(benchmark, rbm, rng):
    benchmark(fastrbm.sample, rbm, n_chains=10, n_draws=1, burn_in=1, rng=rng)


def test_to_and_from_bytes(benchmark, rbm):
    benchmark(lambda: fastrbm.RBM.from_bytes(rbm.to_bytes()))


@pytest.mark.parametrize("persistent", [False, True], ids=["cd", "pcd"])
def test_train_per_mini_batch(benchmark, rng, persistent):
    """An epoch of 10,000 mini-batches of 10 rows; divide by 10,000."""
    data = rng.integers(2, size=(100_000, 20), dtype=np.int8)
    result = benchmark(fastrbm.train_cd, data, n_hidden=10, batch_size=10, n_epochs=1, metrics=(),
                       persistent=persistent, rng=rng)  # fmt: skip
    seconds = result.history["seconds"][0]
    benchmark.extra_info["microseconds_per_mini_batch"] = 1e6 * seconds / 10_000
