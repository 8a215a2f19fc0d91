"""How well train_exact learns small sets of patterns: KL(data, model) and seconds.

    python bench/train_exact.py [--seeds N] [--n-threads N]

Uniform laws on a few patterns, whose best model lies at infinite weights: the divergence can only
go to zero. Each row is one call without weight decay; the divergence is measured afterwards by
`fastrbm.kl_divergence`, not by what training says of itself. The exit code is 1 if a row fails.
"""

import argparse
import sys
import time

import machine
import numpy as np

import fastrbm

#: What is asked: nats, and seconds.
NEEDED, AIM, LONGEST = 0.01, 0.001, 600.0


def orthogonal_patterns(n=16):
    """+-xi_1 and +-xi_2 for two orthogonal patterns of n spins."""
    first = np.where(np.random.default_rng(0).permutation(n) < n // 2, 1, -1)
    second = first * np.where(np.arange(n) % 2 == 0, 1, -1)
    return np.array([first, -first, second, -second])


def rows():
    """Yield (what, patterns, arguments of train_exact)."""
    for n, n_hidden in ((3, 24), (4, 48)):
        patterns = fastrbm.datasets.bars_and_stripes(n)
        what = f"bars and stripes {n}x{n} ({len(patterns)} patterns), {n_hidden} Bernoulli hidden"
        yield what, patterns, {"n_hidden": n_hidden}
    what = "+-xi_1, +-xi_2 of 16 spins, 2 Gaussian hidden"
    yield what, orthogonal_patterns(), {"n_hidden": 2}


def measure(patterns, seed, n_threads, **options):
    """Train from one seed; return the divergence, the seconds and the result."""
    began = time.perf_counter()
    result = fastrbm.train_exact(
        patterns, optimizer="lbfgs", n_epochs=40, weight_decay=0, metrics=(), rng=seed,
        n_threads=n_threads, **options,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return fastrbm.kl_divergence(result.model, patterns), seconds, result


def main():
    """Measure every row and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--n-threads", type=int, default=None, metavar="N")
    arguments = parser.parse_args()
    description = machine.describe()
    print(f"{description['processor']}, {description['cores']} cores, SIMD {description['simd']}")
    print("\n| patterns | seed | KL, nats | seconds | updates | method | needed | aim |")
    print("|---|---|---|---|---|---|---|---|")
    holds = True
    for what, patterns, options in rows():
        for seed in range(arguments.seeds):
            divergence, seconds, result = measure(patterns, seed, arguments.n_threads, **options)
            needed = divergence <= NEEDED and seconds <= LONGEST
            aim = divergence <= AIM and seconds <= LONGEST
            holds &= needed
            print(
                f"| {what} | {seed} | {divergence:.1e} | {seconds:.1f} "
                f"| {result.info['n_updates']} | {result.info['method']} "
                f"| {'yes' if needed else 'NO'} | {'yes' if aim else 'no'} |",
                flush=True,
            )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
