"""How well train_exact learns small sets of patterns: KL(data, model) and seconds.

    python bench/train_exact.py [--seeds N] [--n-threads N]

Uniform laws on a few patterns, whose best model lies at infinite weights: the divergence can only
go to zero. Each seed is one call without weight decay; the divergence is measured afterwards by
`fastrbm.kl_divergence`, and the worst seed counts, as does the slowest. Prints one table; the exit
code is 1 if a row misses what is needed. bench/exact.py shows the same rows.
"""

import argparse
import math
import sys
import time

import numpy as np
from exact import Row, table

import fastrbm
from fastrbm.benchmarks import machine

#: What is asked: nats, within so many seconds.
NEEDED, AIM, LONGEST = 0.01, 0.001, 600.0
N_SEEDS = 3


def orthogonal_patterns(n=16):
    """+-xi_1 and +-xi_2 for two orthogonal patterns of n spins."""
    first = np.where(np.random.default_rng(0).permutation(n) < n // 2, 1, -1)
    second = first * np.where(np.arange(n) % 2 == 0, 1, -1)
    return np.array([first, -first, second, -second])


def tasks():
    """Yield (what, patterns, number of hidden units)."""
    for n, n_hidden in ((3, 24), (4, 48)):
        patterns = fastrbm.datasets.bars_and_stripes(n)
        what = f"bars and stripes {n}x{n} ({len(patterns)} patterns), {n_hidden} Bernoulli hidden"
        yield what, patterns, n_hidden
    yield "+-xi_1, +-xi_2 of 16 spins, 2 Gaussian hidden", orthogonal_patterns(), 2


def measure(patterns, n_hidden, seed, n_threads):
    """Train from one seed; return the divergence, the seconds and the method."""
    began = time.perf_counter()
    result = fastrbm.train_exact(
        patterns, n_hidden=n_hidden, optimizer="lbfgs", n_epochs=40, weight_decay=0, metrics=(),
        rng=seed, n_threads=n_threads,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return fastrbm.kl_divergence(result.model, patterns), seconds, result.info["method"]


def rows(n_threads, n_seeds=N_SEEDS):
    """Yield one row a task: the worst of the seeds, infinite where one took too long."""
    for what, patterns, n_hidden in tasks():
        runs = [measure(patterns, n_hidden, seed, n_threads) for seed in range(n_seeds)]
        divergences, seconds, methods = zip(*runs, strict=True)
        worst = max(divergences) if max(seconds) <= LONGEST else math.inf
        yield Row(
            f"KL(data, model), {what}, worst of {n_seeds} seeds", NEEDED, AIM, " nat", worst,
            note=f"at most {max(seconds):.1f} s of {LONGEST:.0f} s, {methods[0]}",
        )  # fmt: skip


def main():
    """Measure every row and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="default: %(default)s")
    parser.add_argument("--n-threads", type=int, help="default: all of the machine")
    arguments = parser.parse_args()
    description = machine.describe()
    n_threads = arguments.n_threads or description["n_threads"]
    measured = list(rows(n_threads, arguments.seeds))
    for name, value in {**description, "n_threads": n_threads}.items():
        print(f"{name}: {value}")
    print("\n" + "\n".join(table(measured)))
    return 0 if all(row.reaches(row.needed) for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
