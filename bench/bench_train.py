"""Training: one epoch of 10,000 rows, by size, batch and pair of layers, and in other libraries."""

import peers
import pytest

import fastrbm

PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.01, "metrics": ()}


def n_threads():
    return fastrbm.show_config(mode="dicts")["n_threads"]


def epoch(benchmark, rows, **options):
    options = {**PLAIN, **options}
    result = benchmark(fastrbm.train_cd, rows, n_epochs=1, rng=0, **options)
    benchmark.extra_info["seconds_per_60000_rows"] = 6 * result.history["seconds"][0]
    benchmark.extra_info["kernel"] = str(result.info.get("kernel"))


@pytest.mark.parametrize("persistent", [False, True], ids=["cd", "pcd"])
@pytest.mark.parametrize("batch_size", [10, 100, 500])
@pytest.mark.parametrize("n_hidden", [10, 64, 500])
def test_epoch(benchmark, rows, n_hidden, batch_size, persistent):
    benchmark.group = f"epoch, 10,000 rows, 784 x {n_hidden}, batch {batch_size}"
    epoch(benchmark, rows, n_hidden=n_hidden, batch_size=batch_size, persistent=persistent)


@pytest.mark.parametrize("batch_size", [10, 100, 500])
@pytest.mark.parametrize("n_hidden", [10, 64, 500])
def test_epoch_torch(benchmark, rows, n_hidden, batch_size):
    pytest.importorskip("torch")
    benchmark.group = f"epoch, 10,000 rows, 784 x {n_hidden}, batch {batch_size}"
    benchmark(peers.TorchCD1(rows, n_hidden, batch_size, n_threads=n_threads()).epoch)


@pytest.mark.parametrize("n_hidden", [64, 500])
def test_epoch_sklearn(benchmark, rows, n_hidden):
    pytest.importorskip("sklearn")
    benchmark.group = f"epoch, 10,000 rows, 784 x {n_hidden}, batch 100"
    start = fastrbm.RBM(fastrbm.Bernoulli(784), fastrbm.Bernoulli(n_hidden), rng=0)
    benchmark.pedantic(peers.sklearn_pcd1, (rows, start, 1, 100, 0.01, 0), rounds=3)


@pytest.mark.parametrize("hidden", ["bernoulli", "spin", "gaussian"])
@pytest.mark.parametrize("visible", ["bernoulli", "spin", "gaussian"])
def test_pairs(benchmark, rows, visible, hidden):
    benchmark.group = "epoch, 2,000 rows, 784 x 64, batch 100, every pair"
    data = 2 * rows[:2000] - 1 if visible == "spin" else rows[:2000]
    epoch(benchmark, data, visible=visible, hidden=hidden, learning_rate=1e-4)


@pytest.mark.parametrize("metrics", [None, ()], ids=["default metrics", "no metrics"])
def test_default_call_on_mnist(benchmark, mnist_rows, metrics):
    benchmark.group = "default call, 10,000 rows of MNIST, one epoch"
    epoch(benchmark, mnist_rows, metrics=metrics)
