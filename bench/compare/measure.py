"""One row of the comparison: who plays it, timed in turn, with ratios."""

import dataclasses
import statistics

from . import ceiling, ours, quality, rounds
from .task import LEARNING_RATE, Task

#: fastrbm without momentum and decay, set beside peers that have neither.
PLAIN = "fastrbm, plain"

#: Rows that a peer trains on at least in a timed piece: enough to drown what a call costs.
GRAIN = 1000


def settings_of(task, data):
    """Return the task with the rate that both sides use."""
    if task.method == "gibbs":
        return task
    return dataclasses.replace(task, learning_rate=learning_rate(task))


def learning_rate(task):
    """Return a rate at which every side learns and none diverges.

    With Gaussian hidden units an update multiplies the weights along v by 1 + rate |v|^2, and
    |v|^2 is at most n_visible, whatever the data and the mini-batch.
    """
    return 0.5 / task.n_visible if task.layers[1] == "gaussian" else LEARNING_RATE


def sides(task, peers):
    """Return {name of a peer: (its task, the name of our contestant that it is set beside)}."""
    return {
        name: (task.plain, PLAIN) if peer.as_is and task.method != "gibbs" else (task, "fastrbm")
        for name, peer in peers.items()
        if peer.plays(task)
    }


def contestants(task, data, peers, n_threads):
    """Return fastrbm's and the peers' contestants, ready to run."""
    pairs = sides(task, peers)
    modules = {name: peers[name].load() for name in pairs}
    # A peer may run on one thread where that is faster.
    choices = tuple(dict.fromkeys((n_threads, 1)))
    if task.method == "gibbs":
        rbm = ours.sampled_model(task, data.train(task), n_threads)
        entries = [rounds.Contestant("fastrbm", ours.Sampler(rbm, task.size, 0, n_threads).sweeps)]
        for name, module in modules.items():
            run = module.Sampler(rbm, task.size).sweeps
            entries.append(rounds.Contestant(name, run, threads=module.threads, choices=choices))
        return entries
    rows = data.train(task)
    trainers = {"fastrbm": ours.Trainer(task, rows, 0, n_threads)}
    if any(mine == PLAIN for _, mine in pairs.values()):
        trainers[PLAIN] = ours.Trainer(task.plain, rows, 0, n_threads)
    # Ours is a whole call on all rows, which carries its start and its metrics.
    entries = [rounds.Contestant(n, t.epoch, len(rows), len(rows)) for n, t in trainers.items()]
    grain = min(-(-GRAIN // task.size) * task.size, len(rows))
    for name, module in modules.items():
        run = module.Trainer(pairs[name][0], data.train(task, "float32")).epoch
        entries.append(rounds.Contestant(name, run, grain, len(rows), module.threads, choices))
    return entries


def measure(task, data, peers, n_threads, n_rounds, target, kept=None, calibration=None):
    """Time a task; return the row as a dict that JSON can hold.

    Parameters
    ----------
    task : Task
    data : Data
    peers : dict of Peer
    n_threads, n_rounds : int
    target : float
        Seconds of a timed piece.
    kept : quality.Kept, optional
    calibration : dict, optional
        Of `calibration.calibrate`.
    """
    task = settings_of(task, data)
    entries = contestants(task, data, peers, n_threads)
    before = ceiling.sgemm(n_threads)
    times = rounds.race(entries, n_rounds, target)
    sgemm = statistics.mean([before, ceiling.sgemm(n_threads)])
    row = {
        "name": task.name, "task": dataclasses.asdict(task), "data": data.source(task),
        "sgemm_gflops": sgemm, "sides": {}, "ratios": {},
    }  # fmt: skip
    for entry in entries:
        unit = statistics.median(times[entry.name])
        gflops = 1e-9 * task.unit_flops / unit
        row["sides"][entry.name] = {
            "seconds_per_unit": times[entry.name], "median": unit, "units_timed": entry.n,
            "n_threads": entry.n_threads or n_threads,
            "gflops": gflops, "sgemm_share": gflops / sgemm,
        }  # fmt: skip
        if task.method == "gibbs":
            row["sides"][entry.name]["unit_updates_per_second"] = task.unit_updates / unit
    kernel = entries[0].run.__self__.result.info.get("kernel")
    if kernel is not None:
        row["kernel"] = str(kernel)
    for name, (their_task, mine) in sides(task, peers).items():
        median, low, high = rounds.ratio(times[name], times[mine])
        judged = None
        if kept is not None and task.method != "gibbs":
            judged = quality.verdict(
                kept.values(their_task, "fastrbm"), kept.values(their_task, name)
            )
        row["ratios"][name] = {
            "over": mine, "median": median, "low": low, "high": high, "quality": judged,
            **counts(task, name, judged, calibration or {}),
        }  # fmt: skip
    return row


def counts(task, name, judged, calibration):
    """Whether a ratio counts, and if not, why: {"counts", "why"}."""
    reasons = []
    if calibration.get(name, {}).get("holds") is False:
        reasons.append("slower than its prototype")
    elif name in ("torch", "scikit-learn", "rbms") and name not in calibration:
        reasons.append("not calibrated")
    if task.method != "gibbs":
        if judged is None or judged["holds"] is None:
            reasons.append("quality not measured")
        elif not judged["holds"]:
            reasons.append("our quality is worse")
    return {"counts": not reasons, "why": "; ".join(reasons)}


def judge_again(run, kept):
    """Judge the ratios of a run by the qualities that are known by now.

    Quality may be measured after speed. Where a side is not known, what the run said stays.
    """
    for row in run["rows"]:
        if row.get("task", {}).get("method", "gibbs") == "gibbs":
            continue
        task = Task(**row["task"])
        for name, ratio in row["ratios"].items():
            their_task = task.plain if ratio["over"] == PLAIN else task
            mine, theirs = kept.values(their_task, "fastrbm"), kept.values(their_task, name)
            if mine is None or theirs is None:
                continue
            judged = quality.verdict(mine, theirs)
            ratio.update(quality=judged, **counts(task, name, judged, run["calibration"]))
    return run
