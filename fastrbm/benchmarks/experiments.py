"""What `fastrbm bench complexity` times: exact log Z, updates of exact training, and CD-k.

log Z is timed as a user calls it, whole. Of training the seconds of its epochs count, each of which
is one call into C, and not the reading of the data before them.
"""

import functools
import math

import numpy as np
from threadpoolctl import threadpool_limits

from ..evaluation import log_partition
from ..layers import Bernoulli, Gaussian, Spin
from ..model import RBM
from ..training import train_cd, train_exact
from . import grids, naive
from .series import Series
from .timing import Task, clocked

PAIRS = {"bernoulli-bernoulli": (Bernoulli, Bernoulli), "spin-gaussian": (Spin, Gaussian)}

#: The method that is made for each pair.
EXACT = {"bernoulli-bernoulli": "split", "spin-gaussian": "pairwise"}

#: Hidden units of the models that are enumerated: more than visible ones, so that 2^N is the price.
N_HIDDEN = 32

#: Multiply-adds a state of N units, for log Z and for the exact gradient.
LOG_Z_MACS = {"naive": lambda n: n * N_HIDDEN, "split": lambda n: N_HIDDEN, "pairwise": lambda n: 1}
UPDATE_MACS = {"naive": lambda n: 2 * n * N_HIDDEN, "split": lambda n: 2 * N_HIDDEN,
               "pairwise": lambda n: 3}  # fmt: skip

#: Rows of a mini-batch where exact training and CD-k are compared, and the k they are compared at.
BATCH, SWEEPS = 100, (1, 10, 100)

#: What one timed call of training should take, at a rate that is right within a factor of ten.
CALL_SECONDS, MACS_A_SECOND, MOST_UPDATES = 0.02, 5e9, 200

#: Too slow to change the model: every round times the same work.
STILL = {"learning_rate": 1e-7, "momentum": 0.0, "weight_decay": 0.0, "metrics": ()}


def cd_macs(k, n_rows, n_visible, n_hidden):
    """Multiply-adds of CD-k on so many rows: 2k + 1 products of its sweeps, two of the gradient.

    Parameters
    ----------
    k, n_rows, n_visible, n_hidden : int

    Returns
    -------
    float

    Examples
    --------
    >>> from fastrbm.benchmarks.experiments import cd_macs
    >>> cd_macs(1, 100, 784, 500) == 5 * 100 * 784 * 500
    True
    """
    return (2.0 * k + 3) * n_rows * n_visible * n_hidden


# --------------------------------------------------------------------------------- what is timed


def _model(pair, n_visible, n_hidden):
    """A model as training begins with it: weights of 0.3 / sqrt(N), visible fields of 0.1."""
    visible, hidden = PAIRS[pair]
    rng = np.random.default_rng([n_visible, n_hidden])
    weights = rng.normal(0, 0.3 / math.sqrt(n_visible), (n_visible, n_hidden))
    bias = rng.normal(0, 0.1, n_visible)
    return RBM(visible(n_visible, bias=bias), hidden(n_hidden), weights=weights, dtype="float32")


def _rows(pair, n_rows, n_visible):
    bits = np.random.default_rng(0).integers(2, size=(n_rows, n_visible), dtype=np.int8)
    return bits if pair == "bernoulli-bernoulli" else 2 * bits - 1


@functools.lru_cache(maxsize=8)
def _training_input(pair, n_visible, n_hidden, n_rows):
    """Made when it is needed: all sizes together would fill the memory."""
    return _model(pair, n_visible, n_hidden), _rows(pair, n_rows, n_visible)


def _time_naive(function, pair, n, n_threads):
    """Seconds of a NumPy sum whose BLAS has as many threads as everything else."""
    rbm = _model(pair, n, N_HIDDEN)
    with threadpool_limits(n_threads):
        return clocked(function, rbm)


def _time_log_partition(pair, n, n_threads):
    rbm = _model(pair, n, N_HIDDEN)
    return clocked(log_partition, rbm, method=EXACT[pair], n_threads=n_threads)


def _train(train, pair, n_visible, n_hidden, n_rows, **options):
    """The result of training, and the seconds of all its epochs together."""
    model, rows = _training_input(pair, n_visible, n_hidden, n_rows)
    result = train(rows, model=model, rng=0, **{**STILL, "n_epochs": 1, **options})
    return result, float(result.history["seconds"].sum())


def _update_task(size, macs, train, pair, n, p, batch_size, **options):
    """Time one update: the mean over as many as make a call that is long enough to time."""
    n_updates = int(min(MOST_UPDATES, max(1, CALL_SECONDS * MACS_A_SECOND / macs)))

    def call():
        result, seconds = _train(
            train, pair, n, p, n_updates * batch_size, batch_size=batch_size, **options
        )
        task.method = result.info.get("method")  # exact training chooses its own
        return seconds / n_updates

    task = Task(size, macs, call, n_repeats=n_updates)
    return task


# ------------------------------------------------------------------------------- the experiments


def log_z(grid, n_threads):
    """Exact log Z over N.

    Parameters
    ----------
    grid : Grid
    n_threads : int

    Returns
    -------
    list of Series
    """
    series = []
    for pair, exact in EXACT.items():
        for method in ("naive", exact):
            tasks = []
            for n in grid.log_z[method]:
                if method == "naive":
                    call = functools.partial(_time_naive, naive.log_partition, pair, n, n_threads)
                else:
                    call = functools.partial(_time_log_partition, pair, n, n_threads)
                tasks.append(Task(n, 2.0**n * LOG_Z_MACS[method](n), call))
            series.append(Series("log_z", method, pair, "N", {"p": N_HIDDEN}, 1, tasks))
    return series


def update(grid, n_threads):
    """One update of exact training over N, and one of CD-k.

    Parameters
    ----------
    grid : Grid
    n_threads : int

    Returns
    -------
    list of Series
    """
    fixed = {"p": N_HIDDEN, "B": BATCH}
    series = []
    for pair, exact in EXACT.items():
        for method in ("naive", exact):
            tasks = []
            for n in grid.update[method]:
                macs = 2.0**n * UPDATE_MACS[method](n)
                if method == "naive":
                    call = functools.partial(_time_naive, naive.products, pair, n, n_threads)
                    tasks.append(Task(n, macs, call))
                else:
                    tasks.append(_update_task(n, macs, train_exact, pair, n, N_HIDDEN, BATCH,
                                              n_threads=n_threads))  # fmt: skip
            series.append(Series("update", method, pair, "N", fixed, 1, tasks))
        for k in SWEEPS:
            tasks = [
                _update_task(n, cd_macs(k, BATCH, n, N_HIDDEN), train_cd, pair, n, N_HIDDEN, BATCH,
                             k=k, n_threads=n_threads)
                for n in grid.update["cd"]
            ]  # fmt: skip
            series.append(Series("update", f"cd-{k}", pair, "N", {**fixed, "k": k}, 1, tasks))
    return series


def cd(experiment, grid, n_threads):
    """CD-k over each of its sizes in turn: an update, an epoch, or p epochs.

    Parameters
    ----------
    experiment : {"cd_update", "cd_epoch", "cd_epochs"}
    grid : Grid
    n_threads : int

    Returns
    -------
    list of Series
    """
    base = grids.BASE[experiment]
    series = []
    for pair in PAIRS:
        for variable, values in getattr(grid, experiment).items():
            tasks = [
                _cd_task(experiment, pair, value, {**base, variable: value}, n_threads)
                for value in values
            ]
            fixed = {name: value for name, value in base.items() if name != variable}
            expected = 2 if (experiment, variable) == ("cd_epochs", "p") else 1
            series.append(Series(experiment, "cd", pair, variable, fixed, expected, tasks))
    return series


def _cd_task(experiment, pair, value, sizes, n_threads):
    k, n, p = sizes["k"], sizes["N"], sizes["p"]
    options = {"k": k, "n_threads": n_threads}
    if experiment == "cd_update":
        macs = cd_macs(k, sizes["B"], n, p)
        return _update_task(value, macs, train_cd, pair, n, p, sizes["B"], **options)
    n_epochs = p if experiment == "cd_epochs" else 1
    options |= {"n_epochs": n_epochs, "batch_size": BATCH}

    def call():
        return _train(train_cd, pair, n, p, sizes["M"], **options)[1]

    return Task(value, n_epochs * cd_macs(k, sizes["M"], n, p), call)


#: Name -> what builds its series.
EXPERIMENTS = {
    "log_z": log_z,
    "update": update,
    "cd_update": functools.partial(cd, "cd_update"),
    "cd_epoch": functools.partial(cd, "cd_epoch"),
    "cd_epochs": functools.partial(cd, "cd_epochs"),
}
