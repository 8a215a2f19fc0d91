"""Times over one size, the exponent they have, and where two series cross."""

from dataclasses import dataclass

from . import fits

#: Calls with fewer multiply-adds are ruled by what every call costs: they are not fitted.
LEAST_MACS = 1e7


@dataclass
class Series:
    """Times of one method over one size, everything else fixed.

    Examples
    --------
    >>> from fastrbm.benchmarks.series import Series
    >>> from fastrbm.benchmarks.timing import Task
    >>> tasks = [Task(n, 2.0**n, None, rounds=[1e-9 * 2.0**n]) for n in (20, 24, 25, 26)]
    >>> series = Series("log_z", "pairwise", "spin-gaussian", "N", {"p": 32}, 1, tasks)
    >>> [task.size for task in series.fitted], str(series.exponent)
    ([24, 25, 26], '1.00 [1.00, 1.00]')
    """

    experiment: str
    method: str
    pair: str
    variable: str
    fixed: dict
    expected: int
    tasks: list

    @property
    def fitted(self):
        """list of Task: Those that were run, by this method, and are large enough to be fitted."""
        return [
            task
            for task in self.tasks
            if task.rounds and task.macs > LEAST_MACS and task.method in (None, self.method)
        ]

    @property
    def exponent(self):
        """Exponent or None: Of 2^(e N) for the exact methods, of size^e for CD; None: too few."""
        fitted = self.fitted
        if len(fitted) < fits.FEWEST_SIZES:
            return None
        law = fits.power_law if self.method.startswith("cd") else fits.exponential
        return law([task.size for task in fitted], [task.seconds for task in fitted])

    def record(self):
        """Return what goes into the JSON."""
        exponent = self.exponent
        return {
            "experiment": self.experiment,
            "method": self.method,
            "pair": self.pair,
            "variable": self.variable,
            "fixed": self.fixed,
            "law": "size^e" if self.method.startswith("cd") else "2^(e size)",
            "expected": self.expected,
            "exponent": None if exponent is None else vars(exponent),
            "fitted": [task.size for task in self.fitted],
            "too_small": [t.size for t in self.tasks if t.rounds and t.macs <= LEAST_MACS],
            "otherwise": [t.size for t in self.tasks if t.method not in (None, self.method)],
            "not_run": [task.size for task in self.tasks if not task.rounds],
            "points": [_point(task) for task in self.tasks if task.rounds],
        }


def _point(task):
    point = {"size": task.size, "macs": task.macs, "seconds": task.seconds, "rounds": task.rounds}
    return point if task.method is None else {**point, "method": task.method}


def crossovers(series):
    """Return from which N on an update of exact training is dearer than one of CD-k.

    Parameters
    ----------
    series : list of dict
        Records of the experiment "update"; others are ignored.

    Returns
    -------
    list of dict
        pair, exact (the method), k, size (N, between sizes), low and high (the same round by
        round). Without a crossing size is None and one of cheaper_up_to and dearer_from is the
        size at that end of what was run.

    Examples
    --------
    >>> from fastrbm.benchmarks.series import crossovers
    >>> def record(method, seconds):
    ...     points = [{"size": n, "seconds": s, "rounds": [s]} for n, s in seconds.items()]
    ...     return {"experiment": "update", "method": method, "pair": "spin-gaussian",
    ...             "points": points}
    >>> found = crossovers([record("pairwise", {8: 1, 16: 4}), record("cd-1", {8: 2, 16: 2})])
    >>> found[0]["k"], found[0]["size"]
    (1, 11.313...)
    """
    updates = {(s["pair"], s["method"]): s for s in series if s["experiment"] == "update"}
    found = []
    for (pair, method), exact in updates.items():
        if method.startswith("cd"):
            continue
        for (other, name), cd in updates.items():
            if other != pair or not name.startswith("cd"):
                continue
            curves = _common(exact, cd)
            medians = [(n, a["seconds"], b["seconds"]) for n, a, b in curves]
            rounds = [c for c in map(_crossing, _by_round(curves)) if c is not None]
            size = _crossing(medians)
            ends_below = bool(medians) and medians[-1][1] <= medians[-1][2]
            starts_above = bool(medians) and not ends_below
            found.append({
                "pair": pair,
                "exact": method,
                "k": int(name.removeprefix("cd-")),
                "size": size,
                "low": min(rounds, default=None),
                "high": max(rounds, default=None),
                "cheaper_up_to": medians[-1][0] if size is None and ends_below else None,
                "dearer_from": medians[0][0] if size is None and starts_above else None,
            })  # fmt: skip
    return found


def _common(first, second):
    """Points of two series at the sizes that both have."""
    others = {point["size"]: point for point in second["points"]}
    return [(p["size"], p, others[p["size"]]) for p in first["points"] if p["size"] in others]


def _by_round(curves):
    n_rounds = min((len(p["rounds"]) for _, *pair in curves for p in pair), default=0)
    for index in range(n_rounds):
        yield [(n, a["rounds"][index], b["rounds"][index]) for n, a, b in curves]


def _crossing(curves):
    return fits.crossing(*zip(*curves, strict=True)) if curves else None
