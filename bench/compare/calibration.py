"""Are the peers written as well as programs whose speed is known?

A folder of prototypes holds peer_torch.py, peer_sklearn.py and peer_rbms.py, each of which prints
lines with `p <hidden> B <batch> s per 60k epoch <seconds>`: an epoch of 60,000 x 784 counted from
10,000 rows of density 0.13. Peer and prototype run in turn, on the same threads; a peer that
takes more than 1.15 times its prototype's time at some point is not calibrated, and no ratio to
it counts.
"""

import os
import pathlib
import re
import subprocess
import sys

from .contest import PEERS
from .data import Data
from .rounds import Contestant
from .task import EPOCH_ROWS, Task

LIMIT = 1.15
N_ROWS = 10_000
LINE = re.compile(r"\bp (\d+) B (\d+) s per 60k epoch ([\d.]+)")

#: Peer -> (its program, the lines it prints, what it trains).
PROTOTYPES = {
    "torch": ("peer_torch.py", 9, "cd"),
    "scikit-learn": ("peer_sklearn.py", 4, "pcd"),
    "rbms": ("peer_rbms.py", 4, "pcd"),
}


def calibrate(folder, names, n_threads, say, n_passes=2):
    """Compare peers with their prototypes.

    Parameters
    ----------
    folder : path
    names : iterable of str
        Of the peers that are installed.
    n_threads : int
    say : callable
        Told what is going on.
    n_passes : int
        Of prototype and peer in turn; the faster pass of each is compared.

    Returns
    -------
    dict
        Peer -> {"holds": bool, "points": [{n_hidden, batch, prototype, peer, ratio}]}; peers
        without a prototype are left out.
    """
    verdicts = {}
    for name in names:
        if name not in PROTOTYPES:
            continue
        theirs, ours = {}, {}
        for _ in range(n_passes):
            say(f"calibrating {name}: its prototype")
            for point, seconds in prototype(folder, name, n_threads).items():
                theirs[point] = min(seconds, theirs.get(point, seconds))
            say(f"calibrating {name}: the peer")
            for point in theirs:
                seconds = peer(name, *point, n_threads)
                ours[point] = min(seconds, ours.get(point, seconds))
        points = [
            {"n_hidden": p, "batch": b, "prototype": theirs[p, b], "peer": ours[p, b],
             "ratio": ours[p, b] / theirs[p, b]}
            for p, b in theirs
        ]  # fmt: skip
        verdicts[name] = {"holds": all(x["ratio"] <= LIMIT for x in points), "points": points}
    return verdicts


def prototype(folder, name, n_threads):
    """Run a prototype until it has printed its epochs; return {(hidden, batch): seconds}."""
    program, n_lines, _ = PROTOTYPES[name]
    path = pathlib.Path(folder) / program
    if not path.is_file():
        raise FileNotFoundError(f"there is no prototype {path}")
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads)
    )
    found = {}
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "ignore", path], stdout=subprocess.PIPE, text=True,
        env={**os.environ, **threads},
    ) as process:  # fmt: skip
        for line in process.stdout:
            match = LINE.search(line)
            if match:
                found[int(match[1]), int(match[2])] = float(match[3])
            if len(found) == n_lines:
                process.terminate()  # the rest of it measures other things
                break
    if len(found) < n_lines:
        raise RuntimeError(f"{program} printed {len(found)} of {n_lines} lines")
    return found


def peer(name, n_hidden, batch, n_threads, n_rows=N_ROWS):
    """Return the peer's seconds for what its prototype does, counted for 60,000 rows."""
    method = PROTOTYPES[name][2]
    task = Task(method, 1, 784, n_hidden, batch, learning_rate=0.01).plain
    data = Data(n_rows=n_rows).train(task, "float32")
    module = PEERS[name].load()
    trainer = module.Trainer(task, data)
    contestant = Contestant(name, trainer.epoch, n_rows, n_rows, module.threads, (n_threads,))
    contestant.seconds(n_rows)
    return min(contestant.seconds(n_rows) for _ in range(2)) * EPOCH_ROWS / n_rows
