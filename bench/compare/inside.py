"""Figures of fastrbm alone: threads, SIMD levels, and the product of bits beside sgemm.

Rows of the same run as the comparison, each {"name", "what", "times", "ratios"}: ratios are medians
over rounds with their least and greatest.
"""

import numpy as np
import threadpoolctl

import fastrbm
from fastrbm import _lib

from . import measure, ours, rounds
from .task import Task

EPOCH = Task("cd", 1, 784, 500, 100)


def threads(data, n_threads, n_rounds, target):
    """An epoch of CD-1, 784 x 500, batch 100, on 1, 2, 4, ... threads: times one thread's speed."""
    task = measure.settings_of(EPOCH, data)
    rows = data.train(task)
    counts = sorted({1, n_threads, *(2**i for i in range(9) if 2**i <= n_threads)})
    entries = [
        rounds.Contestant(str(n), ours.Trainer(task, rows, 0, n).epoch, len(rows), len(rows))
        for n in counts
    ]
    times = rounds.race(entries, n_rounds, target)
    ratios = {f"{n} over 1": rounds.ratio(times["1"], times[str(n)]) for n in counts if n > 1}
    return result("threads/epoch", f"{EPOCH.name}, by threads", times, ratios)


def simd(data, n_threads, n_rounds, target):
    """The same epoch on every SIMD level of the machine: times the best level's time."""
    task = measure.settings_of(EPOCH, data)
    rows = data.train(task)

    def at(level):
        trainer = ours.Trainer(task, rows, 0, n_threads)

        def epoch(n_rows):
            with _lib.use_simd(level):
                trainer.epoch(n_rows)

        return rounds.Contestant(level, epoch, len(rows), len(rows))

    levels = _lib.simd_levels()
    times = rounds.race([at(level) for level in levels], n_rounds, target)
    best = levels[-1]
    ratios = {
        f"{level} over {best}": rounds.ratio(times[level], times[best]) for level in levels[:-1]
    }
    return result("simd/epoch", f"{EPOCH.name}, by SIMD level", times, ratios)


def product(density):
    """v -> h of 500 binary states, 784 x 500, beside sgemm of the same shape."""

    def run(data, n_threads, n_rounds, target):
        rng = np.random.default_rng(0)
        task = Task("gibbs", 1, 784, 500, 500, density=density)
        states = np.ascontiguousarray(data.train(task)[:500])
        dense = states.astype(np.float32)
        weights = rng.normal(0, 0.05, (784, 500)).astype(np.float32)
        rbm = fastrbm.RBM(fastrbm.Bernoulli(784), fastrbm.Bernoulli(500), weights=weights)
        out = np.empty((len(states), 500), np.float32)

        def repeat(call):
            def several(n):
                for _ in range(n):
                    call()

            return several

        def blas(n):
            return threadpoolctl.threadpool_limits(n, "blas")

        # The core's own calls, as the public ones take all threads of the machine.
        executor = _lib.executor(n_threads)
        bits = np.empty((len(states), 500), np.int8)
        entries = [
            rounds.Contestant(
                "sgemm",
                repeat(lambda: np.dot(dense, weights, out=out)),
                threads=blas,
                choices=(n_threads,),
            ),
            rounds.Contestant(
                "means", repeat(lambda: rbm._core.mean(executor, "hidden", states, 1.0, out))
            ),
            rounds.Contestant(
                "draws", repeat(lambda: rbm._core.sample(executor, "hidden", states, 1.0, 7, bits))
            ),
        ]
        times = rounds.race(entries, n_rounds, target)
        ratios = {
            f"{name} over sgemm": rounds.ratio(times["sgemm"], times[name])
            for name in ("means", "draws")
        }
        what = "v -> h of 500 states of int8, with packing, bias and sigmoid, over sgemm alone"
        return result(f"product/{density}", what, times, ratios)

    return run


def result(name, what, times, ratios):
    """A row."""
    ratios = {
        key: {"median": median, "low": low, "high": high}
        for key, (median, low, high) in ratios.items()
    }
    return {"name": name, "what": what, "times": times, "ratios": ratios}


ROWS = {
    "threads/epoch": threads,
    "simd/epoch": simd,
    "product/half": product("half"),
    "product/mnist": product("mnist"),
}
