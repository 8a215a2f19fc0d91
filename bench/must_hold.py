"""Every figure that fastrbm promises, measured now and set beside what is asked.

    python bench/must_hold.py [--data MNIST.npz] [--rows NAME ...] [--n-threads N]

What is compared with another library runs interleaved with it, in this process, on the same cores.
Prints one table; the exit code is 1 if a row fails or could not be measured.
"""

import argparse
import statistics
import subprocess
import sys
import time
import timeit

import mnist
import numpy as np
from compare.task import Task

import fastrbm
from fastrbm.benchmarks import machine

MEGABYTE = 1_000_000


# --------------------------------------------------------------------------------- the measures
# Each takes (data, n_threads), data being MNIST's (train, test) grey levels or None, and yields
# rows: (what, asked, measured, holds).


def quality(data, n_threads, n_seeds=5, n_epochs=5):
    """Held-out pseudo-likelihood of MNIST, ours minus scikit-learn's: 64 hidden, batch 100."""
    from compare import by_sklearn

    train, test = (mnist.binary(images) for images in data)
    options = {"n_epochs": n_epochs, "batch_size": 100, "learning_rate": 0.05}
    differences = {"PCD-1": [], "CD-1": []}
    for seed in range(n_seeds):
        start = fastrbm.train_cd(
            train, n_hidden=64, n_epochs=0, metrics=(), rng=seed, n_threads=n_threads
        ).model
        peer = fastrbm.RBM(start.visible, start.hidden, weights=start.weights)
        weights, visible_bias, hidden_bias = by_sklearn.train_from(
            train, start, seed=seed, **options
        )
        peer.weights = weights
        peer.visible.bias[:], peer.hidden.bias[:] = visible_bias, hidden_bias
        theirs = fastrbm.pseudo_likelihood(peer, test)
        for name, values in differences.items():
            ours = fastrbm.train_cd(
                train, model=start, persistent=name == "PCD-1", momentum=0.0, weight_decay=0.0,
                metrics=(), rng=seed, n_threads=n_threads, **options,
            )  # fmt: skip
            values.append(fastrbm.pseudo_likelihood(ours.model, test) - theirs)
            say(f"seed {seed}, {name}: ours {values[-1] + theirs:.3f}, scikit-learn {theirs:.3f}")
    for name, values in differences.items():
        mean = statistics.mean(values)
        error = statistics.stdev(values) / n_seeds**0.5
        yield (
            f"pseudo-likelihood of held-out MNIST, our {name} minus scikit-learn's PCD-1, "
            f"{n_epochs} epochs, {n_seeds} seeds",
            ">= -2 standard errors",
            f"{mean:+.3f} +- {error:.3f} nats ({mean / error:+.1f} standard errors)",
            mean >= -2 * error,
        )


def stability(data, n_threads):
    """The default call on every form of digits and MNIST: no divergence, and the error falls."""
    sets = {"digits": (fastrbm.datasets.digits(values="grey").data, 8)}
    if data is not None:
        sets["MNIST"] = (data[0], mnist.THRESHOLD)
    for name, (grey, threshold) in sets.items():
        forms = {
            "0/1": ((grey >= threshold).astype(np.int8), {}),
            "-1/+1": (2 * (grey >= threshold).astype(np.int8) - 1, {}),
            "grey": (standardised(grey), {"visible": "gaussian"}),
        }
        for form, (rows, options) in forms.items():
            worst, failures = 0.0, []
            for n_hidden in (64, 500):
                for batch_size in (10, 100):
                    errors = training_errors(rows, n_hidden, batch_size, n_threads, options)
                    say(f"{name} {form}, {n_hidden} hidden, batch {batch_size}: {errors}")
                    if errors is None or not errors[-1] < errors[0]:
                        failures.append(f"{n_hidden} hidden, batch {batch_size}: {errors}")
                    else:
                        worst = max(worst, errors[-1] / errors[0])
            yield (
                f"default call, {name} as {form}, 64 and 500 hidden, batch 10 and 100, 3 epochs",
                "none diverges, error falls",
                "; ".join(failures) or f"4 of 4; error times at most {worst:.2f}",
                not failures,
            )


def training_errors(rows, n_hidden, batch_size, n_threads, options):
    """Reconstruction errors after 1, 2 and 3 epochs of the default call; None: diverged."""
    options = {"n_hidden": n_hidden, "batch_size": batch_size, "rng": 0, "n_threads": n_threads,
               **options}  # fmt: skip
    try:
        history = fastrbm.train_cd(rows, n_epochs=3, **options).history
    except fastrbm.DivergenceError:
        return None
    return [round(float(error), 4) for error in history["reconstruction_error"]]


def standardised(grey):
    """Zero mean and unit variance for every pixel that varies, float32."""
    grey = grey.astype(np.float32)
    spread = grey.std(axis=0)
    return (grey - grey.mean(axis=0)) / np.where(spread > 0, spread, 1)


def overheads(data, n_threads):
    """One small call of a 20 x 10 model on 10 rows; the median of repeated timings."""
    rbm = fastrbm.RBM(fastrbm.Bernoulli(20), fastrbm.Bernoulli(10), rng=0)
    rng = np.random.default_rng(0)
    states = rng.integers(2, size=(10, 20), dtype=np.int8)
    many = rng.integers(2, size=(200_000, 20), dtype=np.int8)

    def per_mini_batch():
        result = fastrbm.train_cd(many, n_hidden=10, batch_size=10, n_epochs=1, metrics=(), rng=0)
        return result.history["seconds"][0] / (len(many) // 10)

    def small_sample():
        return fastrbm.sample(rbm, n_chains=10, n_draws=1, burn_in=1, rng=rng)

    measured = [
        ("rbm.sample_hidden, 20 x 10, 10 rows of int8, with a Generator", 10,
         per_call(lambda: rbm.sample_hidden(states, rng=rng))),
        ("sample(n_chains=10, n_draws=1, burn_in=1), 20 x 10", 60, per_call(small_sample)),
        ("train_cd per mini-batch of 10, 20 x 10", 3,
         statistics.median(per_mini_batch() for _ in range(9))),
    ]  # fmt: skip
    for what, limit, seconds in measured:
        yield what, f"<= {limit} us", f"{1e6 * seconds:.2f} us", 1e6 * seconds <= limit


def per_call(call, repeats=15):
    """Seconds of one call: the median over repeats of many calls each."""
    timer = timeit.Timer(call)
    number = max(1, timer.autorange()[0] // 10)
    return statistics.median(timer.repeat(repeats, number)) / number


def torch_epoch(data, n_threads, n_rounds=5):
    """An epoch of CD-1 on 784 x 500, batch 100, and the same in torch, in turn."""
    from compare import by_torch

    threads = n_threads or fastrbm.show_config(mode="dicts")["n_threads"]
    if data is None:
        rows = (np.random.default_rng(0).random((60_000, 784)) < 0.13).astype(np.int8)
    else:
        rows = mnist.binary(data[0])
    rate = 0.05
    task = Task("cd", 1, 784, 500, 100, learning_rate=rate).plain
    peer = by_torch.Trainer(task, rows.astype(np.float32))
    ours, theirs = [], []
    for number in range(n_rounds + 1):
        history = fastrbm.train_cd(
            rows, n_hidden=500, batch_size=100, n_epochs=1, learning_rate=rate, momentum=0.0,
            weight_decay=0.0, metrics=(), rng=number, n_threads=threads,
        ).history  # fmt: skip
        with by_torch.threads(threads):
            started = time.perf_counter()
            peer.epoch()
            taken = time.perf_counter() - started
        if number:  # the first round warms both up
            ours.append(history["seconds"][0])
            theirs.append(taken)
            say(f"round {number}: ours {ours[-1]:.2f} s, torch {theirs[-1]:.2f} s")
    mine, other = statistics.median(ours), statistics.median(theirs)
    yield (
        f"epoch of CD-1, {len(rows)} rows, 784 x 500, batch 100, {threads} threads, over torch's",
        "<= 1.0 x its time",
        f"{mine / other:.2f} x ({mine:.2f} s against {other:.2f} s)",
        mine <= other,
    )


MEMORY_PROGRAM = """
import re, sys
import numpy as np
import fastrbm

def memory(name):
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(name + r":\\s+(\\d+) kB", file.read())[1])

n_hidden, persistent, gaussian, n_threads = (int(word) for word in sys.argv[1:])
options = dict(n_hidden=n_hidden, batch_size=100, n_epochs=1, rng=0, persistent=bool(persistent),
               visible="gaussian" if gaussian else "auto", n_threads=n_threads or None)
rows = np.zeros((60_000, 784), np.float32 if gaussian else np.int8)
for row in rows:
    row[::7] = 1
small = np.ascontiguousarray(rows[:200, :20])
fastrbm.train_cd(small, **{**options, "n_hidden": 5})  # libraries, threads and their stacks
before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew
fastrbm.train_cd(rows, **options)
print(memory("VmHWM") - before)
"""


def memory(data, n_threads):
    """Peak resident memory of training beyond the caller's array, each in a process of its own."""
    if not sys.platform.startswith("linux"):
        yield "memory of training beyond the caller's array", "", "needs Linux to measure", False
        return
    for name, n_hidden, persistent, gaussian in (
        ("CD-1, 0/1", 500, 0, 0),
        ("PCD-1, 0/1", 500, 1, 0),
        ("CD-1, 0/1", 4000, 0, 0),
        ("CD-1, reals", 500, 0, 1),
    ):
        words = [str(int(word)) for word in (n_hidden, persistent, gaussian, n_threads or 0)]
        done = subprocess.run([sys.executable, "-c", MEMORY_PROGRAM, *words], check=True,
                              capture_output=True, text=True)  # fmt: skip
        parameters = 4 * (784 * n_hidden + 784 + n_hidden)
        packed = 0 if gaussian else 60_000 * -(-784 // 64) * 8
        chains = 100 * (784 + n_hidden) * 4
        allowed = packed + 6 * parameters + chains + 8 * MEGABYTE
        used = int(done.stdout)
        rest = (used - packed - chains) / parameters
        yield (
            f"memory of training beyond the caller's array, {name}, 784 x {n_hidden}",
            f"<= {allowed / MEGABYTE:.1f} MB",
            f"{used / MEGABYTE:.1f} MB (packed {packed / MEGABYTE:.1f} + {rest:.1f} x parameters)",
            used <= allowed,
        )


MEASURES = {
    "quality": quality,
    "stability": stability,
    "overheads": overheads,
    "torch": torch_epoch,
    "memory": memory,
}
NEED_MNIST = {"quality", "stability"}


# ------------------------------------------------------------------------------------- the table


def say(text):
    print(text, file=sys.stderr, flush=True)


def table(rows):
    """The rows as a Markdown table."""
    yield "| | asked | measured | holds |"
    yield "|---|---|---|---|"
    for what, asked, measured, holds in rows:
        yield f"| {what} | {asked} | {measured} | {'yes' if holds else 'NO'} |"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="NPZ", help="MNIST; by default FASTRBM_MNIST")
    parser.add_argument("--rows", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--n-threads", type=int)
    arguments = parser.parse_args(argv)
    try:
        data = mnist.load(arguments.data)
    except (FileNotFoundError, ValueError) as error:
        say(str(error))
        data = None
    rows = []
    for name in arguments.rows:
        say(f"measuring: {name}")
        if data is None and name in NEED_MNIST:
            rows.append((name, "", "needs MNIST", False))
        if data is not None or name != "quality":
            rows += MEASURES[name](data, arguments.n_threads)
    for name, value in machine.describe().items():
        print(f"{name}: {value}")
    print("\n" + "\n".join(table(rows)))
    return 0 if all(holds for *_, holds in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
