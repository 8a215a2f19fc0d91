"""Do both sides learn equally well? A speed counts only where ours is no worse.

Each side trains for five epochs from its own default start, with several seeds; the measure is the
exact pseudo-likelihood of 10,000 rows that nobody trained on, by `fastrbm.pseudo_likelihood` for
every package. Ours holds if its mean is not below the peer's by more than two standard errors of
the difference.

Values take long and need no quiet machine: they are kept in a file of their own, side by side with
the versions that gave them, and the report reads them from there.
"""

import json
import math
import pathlib
import statistics

import numpy as np

import fastrbm

from . import contest, ours
from .machine_state import revision

N_EPOCHS, N_SEEDS = 5, 5
SLACK = 2  # standard errors


def key_of(task, side):
    """The name of a list of values."""
    settings = f"momentum {task.momentum:g}, decay {task.weight_decay:g}"
    return f"{task.name}, {settings}: {side}"


class Kept:
    """The values that are known: a JSON file, written after every list of values."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.entries = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def values(self, task, side):
        """Return the entry of a side, or None: {"values", "seeds", "rows", "version", ...}."""
        return self.entries.get(key_of(task, side))

    def measure(self, task, side, train, test, n_threads, n_seeds=N_SEEDS):
        """Train, unless the same version has; return the entry."""
        version, made = version_of(side), revision() if side == "fastrbm" else None
        known = self.values(task, side)
        same = {"version": version, "revision": made, "seeds": n_seeds, "rows": len(train)}
        if known and all(known.get(name) == value for name, value in same.items()):
            return known
        values = [
            pseudo_likelihood(task, side, train, test, seed, n_threads) for seed in range(n_seeds)
        ]
        self.entries[key_of(task, side)] = {"values": values, **same}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.entries, indent=1))
        return self.entries[key_of(task, side)]


def version_of(side):
    """The version of a side's package."""
    return fastrbm.__version__ if side == "fastrbm" else contest.PEERS[side].version


def pseudo_likelihood(task, side, train, test, seed, n_threads, n_epochs=N_EPOCHS):
    """Return nats per held-out row after training; None where training diverged."""
    try:
        if side == "fastrbm":
            trainer = ours.Trainer(task, train, seed, n_threads)
            trainer.epochs(n_epochs)
        else:
            module = contest.PEERS[side].load()
            with module.threads(n_threads):
                # Peers do not shuffle: an order of the rows for each seed, as ours has.
                order = np.random.default_rng(seed).permutation(len(train))
                trainer = module.Trainer(task, train[order].astype("float32"), seed)
                if hasattr(trainer, "epochs"):  # every call of epoch would start anew
                    trainer.epochs(n_epochs)
                else:
                    for _ in range(n_epochs):
                        trainer.epoch()
        value = fastrbm.pseudo_likelihood(trainer.model(), test)
    except (fastrbm.DivergenceError, FloatingPointError):
        return None
    return value if math.isfinite(value) else None


def verdict(mine, theirs):
    """Compare two entries: {"difference", "error", "holds"}, or None where one is missing.

    Nats per row, ours minus the peer's. A side that diverged with any seed has no mean: ours then
    does not hold, and holds against a peer that did.
    """
    if mine is None or theirs is None:
        return None
    if None in mine["values"] or None in theirs["values"]:
        return {"difference": None, "error": None, "holds": None not in mine["values"]}
    a, b = mine["values"], theirs["values"]
    difference = statistics.mean(a) - statistics.mean(b)
    if min(len(a), len(b)) < 2:
        return {"difference": difference, "error": None, "holds": None}
    error = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    holds = difference >= -SLACK * error
    return {"difference": difference, "error": error, "holds": holds}
