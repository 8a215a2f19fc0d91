"""Gibbs sweeps: unit updates a second, by size, pair of layers, number of chains and threads."""

import numpy as np
import pytest

import fastrbm

LAYERS = {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin, "gaussian": fastrbm.Gaussian}


def run(benchmark, pair, size, n_chains, n_threads=None, n_sweeps=100):
    visible, hidden = (LAYERS[name](n) for name, n in zip(pair.split("-"), size, strict=True))
    weights = np.random.default_rng(0).normal(0, 0.3 / np.sqrt(size[0]), size)
    rbm = fastrbm.RBM(visible, hidden, weights=weights, dtype="float32")
    start = fastrbm.sample(rbm, n_chains=n_chains, n_draws=0, burn_in=10, rng=0)

    def sweeps():
        return fastrbm.sample(rbm, init=start, n_draws=0, burn_in=n_sweeps, n_threads=n_threads)

    result = benchmark(sweeps)
    benchmark.extra_info["n_threads"] = result.info["n_threads"]
    if benchmark.stats is not None:  # None with --benchmark-disable
        updates = n_sweeps * n_chains * sum(size)
        benchmark.extra_info["unit_updates_per_second"] = updates / benchmark.stats["median"]


@pytest.mark.parametrize("size", [(64, 32), (784, 64), (784, 500)], ids=str)
@pytest.mark.parametrize("pair", ["bernoulli-bernoulli", "spin-gaussian"])
def test_sizes(benchmark, pair, size):
    benchmark.group = f"sweeps, {pair}, 512 chains"
    run(benchmark, pair, size, n_chains=512, n_sweeps=10 if size[1] > 64 else 100)


@pytest.mark.parametrize("hidden", LAYERS)
@pytest.mark.parametrize("visible", LAYERS)
def test_pairs(benchmark, visible, hidden):
    benchmark.group = "sweeps, every pair, 200 x 100, 512 chains"
    run(benchmark, f"{visible}-{hidden}", (200, 100), n_chains=512)


@pytest.mark.parametrize("n_chains", [1, 4, 16, 64, 256, 1024])
def test_chains(benchmark, n_chains):
    benchmark.group = "sweeps, by chains, bernoulli-bernoulli 784 x 64"
    run(benchmark, "bernoulli-bernoulli", (784, 64), n_chains, n_sweeps=20)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_threads(benchmark, n_threads):
    benchmark.group = "sweeps, by threads, bernoulli-bernoulli 784 x 500, 512 chains"
    run(benchmark, "bernoulli-bernoulli", (784, 500), 512, n_threads, n_sweeps=10)
