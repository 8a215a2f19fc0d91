"""How long exact and contrastive-divergence training take, by size: the complexity table, measured.

For N visible units, p hidden units, k sweeps, mini-batches of B and M rows of data, the table says

    exact                    more than O(2^N)
    CD-k, an update          O(k B N p)
    CD-k, an epoch           O(k M N p)
    CD-k, p epochs           O(k M N p^2)

Here each line is timed and its exponents are fitted, one size varied at a time, over the sizes with
more than 1e7 multiply-adds a call. Exact log Z and exact training are timed for the naive sum over
all states (`naive`) and for the package's own methods: the split product for Bernoulli hidden
units, the pairwise product for Gaussian ones. Where an update of exact training becomes dearer than
one of CD-k, exact training stops paying: that is the crossover.
"""

import contextlib
import functools
import json
import os
import time

from .. import _lib, files
from . import experiments, fits, machine, report, timing
from .grids import FULL, QUICK, SHARES
from .series import LEAST_MACS, crossovers

#: Version of the JSON.
FORMAT = 1


def measure(*, quick=False, max_seconds=None, n_threads=None, grid=None, say=None):
    """Time everything and fit the exponents.

    Parameters
    ----------
    quick : bool, default False
        Few sizes and rounds: under a minute, and wide intervals.
    max_seconds : float, optional
        For the whole; by default 540, quick 60. Sizes that do not fit are left out and named.
    n_threads : int, optional
    grid : Grid, optional
        Sizes and rounds, instead of the usual ones.
    say : callable(str), optional
        Told how far it is.

    Returns
    -------
    dict
        What `run` writes as JSON: format, machine, settings, series, crossovers.
    """
    grid = grid or (QUICK if quick else FULL)
    max_seconds = grid.max_seconds if max_seconds is None else max_seconds
    n_threads = _lib.executor(n_threads).n_threads
    began = time.perf_counter()
    records, n_rounds = [], {}
    for experiment, build in experiments.EXPERIMENTS.items():
        tell = None if say is None else functools.partial(_tell, say, experiment)
        batch = build(grid, n_threads)
        left = max_seconds - (time.perf_counter() - began)
        share = SHARES[experiment] / sum(SHARES[name] for name in SHARES if name not in n_rounds)
        groups = [one.tasks for one in batch]
        n_rounds[experiment] = timing.measure(groups, grid.n_rounds, share * left, tell)
        records += [one.record() for one in batch]
    return {
        "format": FORMAT,
        "machine": {**machine.describe(), "n_threads": n_threads},
        "settings": {
            "n_hidden": experiments.N_HIDDEN,
            "batch_size": experiments.BATCH,
            "least_macs": LEAST_MACS,
            "confidence": fits.CONFIDENCE,
            "max_seconds": max_seconds,
            "n_rounds": n_rounds,
        },
        "series": records,
        "crossovers": crossovers(records),
    }


def _tell(say, experiment, text):
    say(f"{report.NAMES[experiment]}: {text}")


def run(output, *, quick=False, max_seconds=None, n_threads=None, grid=None, say=None):
    """Measure, and write complexity.json, complexity.md and complexity.png.

    Parameters
    ----------
    output : str or os.PathLike
        The folder; made where it does not exist.
    quick, max_seconds, n_threads, grid, say
        As in `measure`.

    Returns
    -------
    dict
        What the JSON holds.
    list of str
        The files written: without matplotlib the picture is not among them.
    """
    paths = outputs(output)
    result = measure(quick=quick, max_seconds=max_seconds, n_threads=n_threads, grid=grid, say=say)
    return result, write(result, paths)


def outputs(output):
    """Return the paths of the files to write, after checking that they can be written."""
    os.makedirs(output, exist_ok=True)
    paths = {kind: os.path.join(output, f"complexity.{kind}") for kind in ("json", "md", "png")}
    for path in paths.values():
        files.check_writable(path)
    return paths


def write(result, paths):
    """Write a result in its three forms and return the paths written."""
    texts = {"json": json.dumps(result, indent=1) + "\n", "md": report.page(result)}
    for kind, text in texts.items():
        with files.replacing(paths[kind]) as file:
            file.write(text.encode())
    written = [paths["json"], paths["md"]]
    with contextlib.suppress(ImportError):
        from . import picture

        with files.replacing(paths["png"]) as file:
            picture.write_picture(file, result)
        written.append(paths["png"])
    return written
