"""The same seed gives the same bits: for every number of threads, and again."""

import functools
import threading

import adapters
import numpy as np
import pytest
from reference import models

import fastrbm
from fastrbm import RBM, _lib, sample, train_cd
from fastrbm.evaluation import reconstruction_error

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
THREADS = (2, 3, 7)
# Rows, chains and units that neither 2, 3 nor 7 divide, and that leave part of every tile.
SIZES = ((101, 37), (130, 67), (64, 128))


def everything(array_like):
    return np.ascontiguousarray(array_like).tobytes()


@functools.cache
def model(visible, hidden, n_visible, n_hidden, dtype):
    return adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)


@pairs
@pytest.mark.parametrize(("n_visible", "n_hidden"), SIZES)
def test_sampling(visible, hidden, n_visible, n_hidden):
    for dtype in adapters.DTYPES:
        rbm = model(visible, hidden, n_visible, n_hidden, dtype)
        clamp = np.arange(n_visible) % 5 == 0

        def run(n_threads, rbm=rbm, clamp=clamp):
            init = adapters.random_states(visible, 211, n_visible)
            free = sample(rbm, init=init, n_draws=2, burn_in=2, rng=1, n_threads=n_threads)
            held = sample(
                rbm, init=init, clamp=clamp, n_draws=1, burn_in=1, rng=1, n_threads=n_threads
            )
            start = sample(rbm, n_chains=97, n_draws=1, burn_in=0, rng=1, n_threads=n_threads)
            runs = (free, held, start)
            return b"".join(everything(part) for r in runs for part in (r.visible, r.hidden))

        alone = run(1)
        for n_threads in THREADS:
            assert run(n_threads) == alone, (dtype, n_threads)
        assert run(1) == alone


def trained(result):
    m = result.model
    arrays = [m.weights, m.visible.bias, m.hidden.bias, result.chains]
    arrays += [v for k, v in result.history.items() if "seconds" not in k]
    return b"".join(map(everything, arrays))


@pairs
@pytest.mark.parametrize(("n_visible", "n_hidden"), SIZES)
@pytest.mark.parametrize("persistent", [False, True])
def test_training(visible, hidden, n_visible, n_hidden, persistent):
    data = adapters.random_states(visible, 211, n_visible, seed=1)
    rbm = model(visible, hidden, n_visible, n_hidden, "float32")

    def run(n_threads):
        return trained(
            train_cd(
                data, model=rbm, persistent=persistent, n_chains=83 if persistent else None, k=2,
                batch_size=61, n_epochs=2, learning_rate=0.005, max_norm=5.0, rng=1,
                n_threads=n_threads,
            )
        )  # fmt: skip

    alone = run(1)
    for n_threads in THREADS:
        assert run(n_threads) == alone, n_threads


@pytest.mark.parametrize("options", [
    {"statistics": "samples"}, {"momentum": 0.9, "weight_decay": 0.01}, {"batch_size": 1},
    {"batch_size": 300}, {"dtype": "float64"},
])  # fmt: skip
def test_training_options(options):
    data = adapters.random_states("bernoulli", 211, 167, seed=1)
    settings = {"n_hidden": 141, "n_epochs": 1, "batch_size": 31, "rng": 1} | options
    alone = trained(train_cd(data, n_threads=1, **settings))
    for n_threads in THREADS:
        assert trained(train_cd(data, n_threads=n_threads, **settings)) == alone


def test_probabilities():
    data = np.random.default_rng(0).random((103, 167))
    settings = {"visible": "bernoulli", "n_hidden": 141, "n_epochs": 1, "batch_size": 31, "rng": 1}
    alone = trained(train_cd(data, n_threads=1, **settings))
    for n_threads in THREADS:
        assert trained(train_cd(data, n_threads=n_threads, **settings)) == alone


@pairs
@pytest.mark.parametrize("dtype", adapters.DTYPES)
def test_functions_of_states(visible, hidden, dtype, monkeypatch):
    """Means, draws, free energies and metrics of many rows."""
    rbm = model(visible, hidden, 101, 37, dtype)
    v = adapters.random_states(visible, 1003, 101)
    h = adapters.random_states(hidden, 1003, 37)
    functions = [
        lambda: rbm.free_energy(v),
        lambda: rbm.mean_hidden(v),
        lambda: rbm.mean_visible(h),
        lambda: rbm.sample_hidden(v, rng=1),
        lambda: rbm.sample_visible(h, rng=1),
        lambda: reconstruction_error(rbm, v, rng=1),
    ]
    if visible != "gaussian":
        functions.append(lambda: fastrbm.pseudo_likelihood(rbm, v))
        functions.append(lambda: fastrbm.pseudo_likelihood(rbm, v, exact=False, rng=1))
    executor = _lib.executor

    def run(n_threads):
        monkeypatch.setattr(_lib, "executor", lambda: executor(n_threads))
        return [everything(function()) for function in functions]

    alone = run(1)
    for n_threads in THREADS:
        assert run(n_threads) == alone, n_threads


def test_the_callers_blas_does_not_matter():
    """Observers use NumPy's products: their sums are the same under any BLAS limit."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    rbm = model("gaussian", "spin", 101, 37, "float64")

    def run(limit):
        with threadpoolctl.threadpool_limits(limit, user_api="blas"):
            run = sample(rbm, n_chains=333, n_draws=3, rng=1, observers=[fastrbm.Moments()])
        return everything(run.observations[0].products)

    assert run(1) == run(2)


def test_many_callers_at_once():
    """Calls from several Python threads, on one model, do not disturb each other."""
    rbm = model("spin", "gaussian", 101, 37, "float32")
    expected = [everything(sample(rbm, n_chains=50, n_draws=5, rng=i).visible) for i in range(8)]
    found = [None] * 8

    def work(i):
        for _ in range(5):
            found[i] = everything(sample(rbm, n_chains=50, n_draws=5, rng=i, n_threads=2).visible)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == expected


def test_a_seed_survives_copies_and_files(tmp_path):
    """A copied, saved or converted-back model draws the same bits."""
    rbm = model("bernoulli", "gaussian", 101, 37, "float32")
    rbm.save(tmp_path / "m")
    expected = sample(rbm, n_chains=20, n_draws=2, rng=3).visible
    for twin in (rbm.copy(), RBM.load(tmp_path / "m"), RBM.from_bytes(rbm.to_bytes())):
        np.testing.assert_array_equal(sample(twin, n_chains=20, n_draws=2, rng=3).visible, expected)


def test_thread_counts():
    """None is the machine, negative numbers count from it, results say what was used."""
    rbm = model("spin", "spin", 64, 128, "float32")
    machine = sample(rbm, n_draws=0).info["n_threads"]
    assert machine >= 1
    assert sample(rbm, n_draws=0, n_threads=-1).info["n_threads"] == machine
    if fastrbm.show_config(mode="dicts")["openmp"]:
        assert sample(rbm, n_draws=0, n_threads=3).info["n_threads"] == 3


def test_omp_num_threads(python):
    text = """
import fastrbm
rbm = fastrbm.RBM(fastrbm.Spin(3), fastrbm.Spin(2))
print(fastrbm.sample(rbm, n_draws=0).info["n_threads"])
"""
    assert python(text, env={"OMP_NUM_THREADS": "1"}).stdout == "1\n"
