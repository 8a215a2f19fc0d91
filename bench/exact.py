"""Every figure that exact methods promise, measured now beside what is needed and what is aimed at.

    python bench/exact.py [--rows NAME ...] [--n-threads N] [--rounds N]

What is compared runs interleaved, in this process, on the same threads: the pairwise product with a
plain dgemm of as many multiply-adds, the split product with the plain NumPy expression. Limits in
seconds are for a machine with a dgemm of 140 GFLOP/s and are scaled by the dgemm of this run.
Prints one table; the exit code is 1 if a row misses what is needed.
"""

import argparse
import functools
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

import fastrbm
from fastrbm.benchmarks import machine
from fastrbm.benchmarks.timing import clocked

#: The dgemm that limits in seconds are for, GFLOP/s.
NOMINAL_DGEMM = 140.0

#: A square product of this order has 2^36 multiply-adds, as many as N = 36 has states.
DGEMM_ORDER = 4096

#: Plain NumPy enumerates so many states at a time.
NUMPY_BLOCK = 4096

NO_LIMIT = {"max_seconds": 7200.0}


@dataclass
class Row:
    """One line of the table; a figure is good when it is small, or large where `more` is set."""

    what: str
    needed: float
    aim: float
    unit: str
    measured: float
    more: bool = False
    note: str = ""

    def reaches(self, limit):
        return self.measured >= limit if self.more else self.measured <= limit

    def cells(self):
        relation = ">=" if self.more else "<="
        return (
            self.what,
            f"{relation} {self.needed:.4g}{self.unit}",
            f"{relation} {self.aim:.4g}{self.unit}",
            f"{self.measured:.4g}{self.unit}{', ' if self.note else ''}{self.note}",
            "aim" if self.reaches(self.aim) else "yes" if self.reaches(self.needed) else "NO",
        )


# -------------------------------------------------------------------------------------- models


def spins(n, *, field=True):
    """A Hopfield-like model: n spins, 8 Gaussian hidden units."""
    rng = np.random.default_rng(n)
    weights = rng.normal(0, 0.8 / math.sqrt(n), (n, 8))
    bias = rng.normal(0, 0.1, n) if field else 0.0
    return fastrbm.RBM(fastrbm.Spin(n, bias=bias), fastrbm.Gaussian(8), weights=weights)


def bits(n_visible, n_hidden):
    """A Bernoulli-Bernoulli model with weights as large as trained ones."""
    rng = np.random.default_rng([n_visible, n_hidden])
    weights = rng.normal(0, 0.5, (n_visible, n_hidden))
    visible = fastrbm.Bernoulli(n_visible, bias=rng.normal(-1, 1, n_visible))
    return fastrbm.RBM(visible, fastrbm.Bernoulli(n_hidden), weights=weights)


# ---------------------------------------------------------------------------------- comparisons


def dgemm(n_threads):
    """Return a call that times a plain product of 2^36 multiply-adds on so many threads."""
    rng = np.random.default_rng(0)
    left, right = rng.random((2, DGEMM_ORDER, DGEMM_ORDER))
    out = np.empty_like(left)

    def call():
        with threadpool_limits(n_threads):
            return clocked(np.matmul, left, right, out=out)

    return call


def gflops(seconds):
    return 2e-9 * DGEMM_ORDER**3 / seconds


def numpy_log_partition(rbm):
    """log Z over the hidden states, as one writes it in NumPy: float64, in blocks."""
    weights, a = rbm.weights.astype(float), rbm.visible.bias.astype(float)
    b, n = rbm.hidden.bias.astype(float), rbm.n_hidden
    shift, total = -np.inf, 0.0
    for first in range(0, 2**n, NUMPY_BLOCK):
        numbers = np.arange(first, min(first + NUMPY_BLOCK, 2**n))
        states = ((numbers[:, None] >> np.arange(n)) & 1).astype(float)
        logs = np.logaddexp(0, states @ weights.T + a).sum(1) + states @ b
        top = max(shift, logs.max())
        total = total * np.exp(shift - top) + np.exp(logs - top).sum()
        shift = top
    return shift + np.log(total)


def interleaved(calls, n_rounds, pick=statistics.median):
    """Median (or other pick of) seconds of each call over rounds in turn, after a warm-up."""
    for call in calls:
        call()
    rounds = []
    for number in range(n_rounds):
        rounds.append([])
        for call in calls:
            time.sleep(0.05)  # threads of the one before stop spinning
            rounds[-1].append(call())
        say(f"  round {number + 1}: " + ", ".join(f"{s:.4g} s" for s in rounds[-1]))
    return [pick(column) for column in zip(*rounds, strict=True)]


def log_z(rbm, n_threads, **options):
    """Return a call that times log_partition."""
    options = {**NO_LIMIT, **options, "n_threads": n_threads}
    return functools.partial(clocked, fastrbm.log_partition, rbm, **options)


# ------------------------------------------------------------------------------------- the rows
# Each takes (n_threads, n_rounds) and yields Rows.


def pairwise_36(n_threads, n_rounds):
    """N = 36 with a field over a dgemm of as many multiply-adds."""
    ours, plain = interleaved(
        [log_z(spins(36), n_threads, method="pairwise"), dgemm(n_threads)], n_rounds
    )
    yield Row(
        "pairwise, N = 36, float64 with a field, over a dgemm of 2^36 multiply-adds",
        1.5, 1.1, " x", ours / plain,
        note=f"{ours:.3f} s against {plain:.3f} s ({gflops(plain):.0f} GFLOP/s)",
    )  # fmt: skip


def pairwise_40(n_threads, n_rounds):
    """N = 40: with a field, without one, and in float32."""
    cases = {
        "float64 with a field": (spins(40), {}, (25, 18)),
        "float64 without field": (spins(40, field=False), {}, (10, 10)),
        "float32 with a field": (spins(40), {"dtype": "float32"}, (10, 10)),
    }
    calls = [
        log_z(rbm, n_threads, method="pairwise", **options) for rbm, options, _ in cases.values()
    ]
    plain_call = dgemm(n_threads)
    plain_call()
    rounds = []
    for number in range(max(1, n_rounds // 3)):  # a quarter of a minute each
        rounds.append([plain_call(), *(call() for call in calls)])
        say(f"  round {number + 1}: " + ", ".join(f"{s:.4g} s" for s in rounds[-1]))
    plain, *seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
    scale = NOMINAL_DGEMM / gflops(plain)
    for (name, (*_, limits)), measured in zip(cases.items(), seconds, strict=True):
        needed, aim = (limit * scale for limit in limits)
        note = f"limits {limits[0]} and {limits[1]} s for 140 GFLOP/s; {gflops(plain):.0f} here"
        yield Row(f"pairwise, N = 40, {name}", needed, aim, " s", measured, note=note)


MEMORY_PROGRAM = """
import re, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import exact, fastrbm

z = fastrbm.log_partition(exact.spins(int(sys.argv[2])), method="pairwise",
                          n_threads=int(sys.argv[3]), max_seconds=7200)
with open("/proc/self/status") as file:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", file.read())[1], z.seconds)
"""


def memory_42(n_threads, n_rounds):
    """Peak resident memory of a process that computes N = 42, interpreter and all."""
    folder = __file__.rpartition("/")[0] or "."
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, folder, "42", str(n_threads)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    kilobytes, seconds = done.stdout.split()
    yield Row(
        "pairwise, N = 42: peak memory of the whole process", 2.0, 1.0, " GB",
        1.024e-6 * int(kilobytes), note=f"{float(seconds):.1f} s",
    )  # fmt: skip


def moments_36(n_threads, n_rounds):
    """All pairs at N = 36 over log Z alone."""
    rbm = spins(36)
    moments, alone = interleaved(
        [
            functools.partial(clocked, fastrbm.exact_moments, rbm, n_threads=n_threads),
            log_z(rbm, n_threads, method="pairwise"),
        ],
        n_rounds,
    )
    yield Row(
        "exact_moments, all pairs, N = 36, over log_partition", 4.0, 3.0, " x", moments / alone,
        note=f"{moments:.3f} s against {alone:.3f} s",
    )  # fmt: skip


def split_784(n_threads, n_rounds):
    """784 x 20 against plain NumPy."""
    rbm = bits(784, 20)
    values = []

    def plain():
        with threadpool_limits(n_threads):
            return clocked(lambda: values.append(numpy_log_partition(rbm)))

    ours = log_z(rbm, n_threads, method="split")
    z = fastrbm.log_partition(rbm, method="split", n_threads=n_threads)
    rounds = []
    for number in range(max(1, n_rounds // 3)):  # half a minute each
        rounds.append((interleaved([ours], 5)[0], plain()))
        say(f"  round {number + 1}: plain NumPy {rounds[-1][1]:.4g} s")
    mine, numpy = (statistics.median(column) for column in zip(*rounds, strict=True))
    difference = abs(z.value - values[0])
    yield Row(
        "split product 784 x 20, float64: times faster than plain NumPy", 50.0, 200.0, " x",
        numpy / mine, more=True,
        note=f"{mine:.4f} s against {numpy:.2f} s, log Z differs by {difference:.1e}",
    )  # fmt: skip


def split_30(n_threads, n_rounds):
    """30 x 30 in seconds."""
    seconds, plain = interleaved(
        [log_z(bits(30, 30), n_threads, method="split"), dgemm(n_threads)], n_rounds
    )
    scale = NOMINAL_DGEMM / gflops(plain)
    yield Row(
        "split product 30 x 30, float64", 3.0 * scale, 1.0 * scale, " s", seconds,
        note=f"limits 3 and 1 s for 140 GFLOP/s; {gflops(plain):.0f} here, on {n_threads} threads",
    )  # fmt: skip


def two_threads(n_threads, n_rounds):
    """The split product on two threads against one, the fastest round of each.

    Whoever else uses the machine slows two threads more than one: the fastest rounds are those
    that had it to themselves.
    """
    if machine.describe()["cores"] < 2:
        say("  needs two cores")
        return
    for size in ((30, 30), (784, 20)):
        rbm = bits(*size)
        one, two = interleaved(
            [log_z(rbm, 1, method="split"), log_z(rbm, 2, method="split")], 2 * n_rounds, min
        )
        yield Row(
            f"split product {size[0]} x {size[1]}: 2 threads over 1", 1.8, 1.95, " x", one / two,
            more=True, note=f"{one:.3f} s and {two:.3f} s",
        )  # fmt: skip


def updates(n_threads, n_rounds):
    """Updates a second of train_exact, 16 x 16 Bernoulli, mini-batches of 30 rows."""
    rows = np.tile(fastrbm.datasets.bars_and_stripes(4), (100, 1))

    def call(threads):
        result = fastrbm.train_exact(
            rows, n_hidden=16, hidden="bernoulli", batch_size=30, n_epochs=10, metrics=(), rng=0,
            n_threads=threads,
        )  # fmt: skip
        return float(result.history["seconds"].sum()) / result.info["n_updates"]

    counts = sorted({1, n_threads})
    seconds = interleaved([functools.partial(call, threads) for threads in counts], n_rounds)
    for threads, each in zip(counts, seconds, strict=True):
        yield Row(
            f"train_exact, 16 x 16 Bernoulli, updates a second, n_threads={threads}",
            1000, 5000, "", 1 / each, more=True,
        )  # fmt: skip


def divergences(n_threads, n_rounds):
    """KL(data, model) of trained models, the worst of some seeds: bench/train_exact.py."""
    import train_exact  # which takes Row and table from here

    yield from train_exact.rows(n_threads, n_seeds=min(n_rounds, train_exact.N_SEEDS))


MEASURES = {
    "pairwise-36": pairwise_36,
    "pairwise-40": pairwise_40,
    "memory-42": memory_42,
    "moments-36": moments_36,
    "split-784": split_784,
    "split-30": split_30,
    "two-threads": two_threads,
    "updates": updates,
    "kl": divergences,
}


# ------------------------------------------------------------------------------------- the table


def say(text):
    print(text, file=sys.stderr, flush=True)


def table(rows):
    """The rows as a Markdown table."""
    yield "| | needed | aim | measured | reached |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(row.cells())} |"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--n-threads", type=int, help="default: all of the machine")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    description = machine.describe()
    n_threads = arguments.n_threads or description["n_threads"]
    rows = []
    for name in arguments.rows:
        say(f"measuring: {name}")
        rows += MEASURES[name](n_threads, arguments.rounds)
    for name, value in {**description, "n_threads": n_threads}.items():
        print(f"{name}: {value}")
    print("\n" + "\n".join(table(rows)))
    return 0 if all(row.reaches(row.needed) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
