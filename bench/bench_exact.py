"""Exact methods: seconds of log Z, moments, draws and updates, and the rates they are chosen by.

`rate` in the results is work a second on one core: multiply-adds of the pairwise product, (state,
unit) pairs of the split product, table entries of the elimination, cgfs of what is laid out in
Python. fastrbm/evaluation/exact/plan.py holds such rates: they decide between methods and refuse
what would take too long. The figures that are promised are measured by exact.py.
"""

import exact
import numpy as np
import pytest

import fastrbm


def log_partition(benchmark, rbm, work=None, n_threads=None, **options):
    """Time log Z; with the work given, note the rate."""
    z = benchmark(fastrbm.log_partition, rbm, n_threads=n_threads, **options)
    benchmark.extra_info["n_states"] = float(z.n_states)
    benchmark.extra_info["error"] = z.error
    if work is not None and benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["rate"] = work / benchmark.stats["median"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [24, 27, 30, 33])
def test_pairwise(benchmark, n, dtype):
    benchmark.group = "pairwise, spin-gaussian, one thread"
    log_partition(benchmark, exact.spins(n), 2.0**n, 1, method="pairwise", dtype=dtype)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("size", [(784, 16), (784, 20), (20, 20), (24, 24)], ids=str)
def test_split(benchmark, size, n_threads):
    benchmark.group = "split product, bernoulli-bernoulli"
    work = 2.0 ** min(size) * max(size) if n_threads == 1 else None
    log_partition(benchmark, exact.bits(*size), work, n_threads, method="split")


def test_split_against_gaussian_units(benchmark):
    """Their cgf does not factor: it is evaluated for every state and unit."""
    benchmark.group = "split product, spin-gaussian, one thread"
    log_partition(benchmark, exact.spins(16), 2.0**16 * 8, 1, method="split")


@pytest.mark.parametrize("n_gaussian", [1, 2, 3])
def test_quadrature(benchmark, n_gaussian):
    benchmark.group = "quadrature, 100 spins, one thread"
    weights = np.random.default_rng(0).normal(0, 0.08, (100, n_gaussian))
    rbm = fastrbm.RBM(fastrbm.Spin(100), fastrbm.Gaussian(n_gaussian), weights=weights)
    z = fastrbm.log_partition(rbm, method="quadrature", n_threads=1)
    log_partition(benchmark, rbm, 100.0 * z.n_states, 1, method="quadrature")


def test_counts(benchmark):
    benchmark.group = "counts, 20,000 equal spins, one thread"
    rbm = fastrbm.RBM(
        fastrbm.Spin(20_000), fastrbm.Gaussian(1), weights=np.full((20_000, 1), 20_000**-0.5)
    )
    log_partition(benchmark, rbm, 20_001.0, 1, method="counts")


def test_elimination(benchmark):
    """The Ising torus, one hidden unit a bond."""
    benchmark.group = "elimination, 8 x 8 torus, one thread"
    side = 8
    site = np.arange(side * side).reshape(side, side)
    bonds = np.concatenate(
        [np.stack([site, np.roll(site, 1, axis)], axis=-1).reshape(-1, 2) for axis in (0, 1)]
    )
    weights = np.zeros((side * side, len(bonds)))
    weights[bonds, np.arange(len(bonds))[:, None]] = 0.7
    rbm = fastrbm.RBM(fastrbm.Spin(side * side), fastrbm.Spin(len(bonds)), weights=weights)
    z = fastrbm.log_partition(rbm, method="elimination", n_threads=1)
    log_partition(benchmark, rbm, float(z.n_states), 1, method="elimination")


def test_gaussian(benchmark):
    benchmark.group = "gaussian, 1000 x 1000, one thread"
    n = 1000
    weights = np.random.default_rng(0).normal(0, 0.3 / np.sqrt(n), (n, n))
    rbm = fastrbm.RBM(fastrbm.Gaussian(n), fastrbm.Gaussian(n), weights=weights)
    log_partition(benchmark, rbm, (2.0 * n) ** 3 / 3, 1, method="gaussian")


@pytest.mark.parametrize(
    "rbm", [exact.spins(24), exact.bits(16, 16)], ids=["pairwise 24", "split 16 x 16"]
)
def test_moments(benchmark, rbm):
    benchmark.group = "exact_moments, one thread"
    benchmark(fastrbm.exact_moments, rbm, n_threads=1)


@pytest.mark.parametrize(
    "rbm", [exact.spins(24), exact.bits(16, 16)], ids=["pairwise 24", "split 16 x 16"]
)
def test_draws(benchmark, rbm):
    benchmark.group = "exact_sample, 1,000 draws"
    benchmark(fastrbm.exact_sample, rbm, 1000, rng=0)


@pytest.mark.parametrize("size", [(9, 9), (16, 16)], ids=str)
def test_update(benchmark, size):
    benchmark.group = "train_exact, bernoulli-bernoulli, mini-batches of 30 rows, one thread"
    rows = np.random.default_rng(0).integers(2, size=(3000, size[0]), dtype=np.int8)
    result = benchmark(fastrbm.train_exact, rows, n_hidden=size[1], batch_size=30, n_epochs=1,
                       metrics=(), rng=0, n_threads=1)  # fmt: skip
    seconds = result.history["seconds"][0] / result.info["n_updates"]
    benchmark.extra_info["updates_per_second"] = 1 / seconds
