"""Training: one epoch of 10,000 rows, by size, batch and pair of layers, and in other libraries."""

import numpy as np
import pytest
from compare.task import Task

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
    from compare import by_torch

    benchmark.group = f"epoch, 10,000 rows, 784 x {n_hidden}, batch {batch_size}"
    task = Task("cd", 1, 784, n_hidden, batch_size).plain
    with by_torch.threads(n_threads()):
        benchmark(by_torch.Trainer(task, rows.astype(np.float32)).epoch)


@pytest.mark.parametrize("n_hidden", [64, 500])
def test_epoch_sklearn(benchmark, rows, n_hidden):
    pytest.importorskip("sklearn")
    from compare import by_sklearn

    benchmark.group = f"epoch, 10,000 rows, 784 x {n_hidden}, batch 100"
    task = Task("pcd", 1, 784, n_hidden, 100, learning_rate=0.01).plain
    with by_sklearn.threads(n_threads()):
        benchmark.pedantic(by_sklearn.Trainer(task, rows.astype(np.float32)).epoch, rounds=3)


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
