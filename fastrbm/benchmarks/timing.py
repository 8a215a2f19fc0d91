"""Medians of interleaved rounds: how the benchmarks time things that are compared.

A machine drifts: clocks, other people's work. So what is compared is timed in turn, round after
round, and the median over the rounds is kept. A first call of everything warms it up and says what
a round will take; sizes that would not fit into the time that is left are not run, and reported.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: A size is called often enough in a round to be timed over this long.
LEAST_SECONDS = 0.02

#: But never more often than this.
MOST_CALLS = 1000

#: Multiply-adds a second that everything here reaches: what a call does beside them does not grow.
SLOWEST = 1e8

#: Pause between groups of tasks: threads of a BLAS or of OpenMP spin for some 20 ms after their
#: work, and would take the cores from whatever comes next.
SETTLE = 0.05


@dataclass
class Task:
    """One thing to time at one size.

    Parameters
    ----------
    size : int
    macs : float
        Multiply-adds of what is timed.
    call : callable() -> float
        Does the work and returns the seconds that count.
    n_repeats : int, default 1
        How often a call does it; the seconds are those of one.

    Attributes
    ----------
    rounds : list of float
        Seconds, a round each.
    method : str or None
        What the call says it was done by, where it chooses.

    Examples
    --------
    >>> from fastrbm.benchmarks.timing import Task
    >>> task = Task(3, 1e6, lambda: 0.5)
    >>> task.call(), task.seconds
    (0.5, None)
    """

    size: int
    macs: float
    call: Callable[[], float]
    n_repeats: int = 1
    rounds: list[float] = field(default_factory=list)
    method: str | None = None

    @property
    def seconds(self):
        """float or None: The median over the rounds; None if this size was not run."""
        return statistics.median(self.rounds) if self.rounds else None


def clocked(function, *arguments, **options):
    """Call a function and return the seconds it took.

    Examples
    --------
    >>> from fastrbm.benchmarks.timing import clocked
    >>> clocked(sum, [1, 2]) >= 0
    True
    """
    began = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - began


def measure(groups, n_rounds, max_seconds, say=None):
    """Time groups of tasks in interleaved rounds; the tasks keep the results.

    Parameters
    ----------
    groups : list of list of Task
        Each group from its smallest task to its largest. Large ones that would take too long are
        left without rounds.
    n_rounds : int
        Fewer are made where time runs out, but at least one.
    max_seconds : float
        For everything together; shared evenly among the groups.
    say : callable(str), optional
        Told how far it is.

    Returns
    -------
    int
        The rounds made.

    Examples
    --------
    >>> from fastrbm.benchmarks.timing import Task, measure
    >>> tasks = [Task(size, size, lambda size=size: size / 1024) for size in (1, 2, 4)]
    >>> measure([tasks], n_rounds=3, max_seconds=60)
    3
    >>> [task.seconds for task in tasks]
    [0.0009765625, 0.001953125, 0.00390625]
    """
    began = time.perf_counter()
    plan = [_Runs(tasks, n_rounds) for tasks in groups]
    for index, runs in enumerate(plan):
        left = max_seconds - sum(other.seconds for other in plan)
        runs.warm_up(left / (len(plan) - index))
    for runs in plan:  # what the others left over
        runs.warm_up(max_seconds - sum(other.seconds for other in plan))
    round_seconds = 0.0
    for done in range(n_rounds):
        elapsed = time.perf_counter() - began
        if done and elapsed + round_seconds > max_seconds:
            return done
        if say is not None:
            say(f"round {done + 1} of {n_rounds}, {elapsed:.0f} s")
        for runs in plan:
            time.sleep(SETTLE)
            for task, n_calls in runs.chosen:
                task.rounds.append(sum(task.call() for _ in range(n_calls)) / n_calls)
        round_seconds = time.perf_counter() - began - elapsed
    return n_rounds


class _Runs:
    """The tasks of one group that fit, how often a round calls them, and what that takes."""

    def __init__(self, tasks, n_rounds):
        self.tasks, self.n_rounds = tasks, n_rounds
        self.chosen, self.seconds, self.each = [], 0.0, 0.0

    def warm_up(self, left):
        """Call the next tasks once each, as long as their rounds fit into the seconds left."""
        time.sleep(SETTLE)
        limit = self.seconds + left
        if not self.chosen:
            self.tasks[0].call()  # imports, first threads: not to be predicted from
        while len(self.chosen) < len(self.tasks):
            task = self.tasks[len(self.chosen)]
            seconds = self._predicted(task) * task.n_repeats * (self.n_rounds + 1)
            if self.chosen and self.seconds + seconds > limit:
                return
            began = time.perf_counter()
            counted = task.call() * task.n_repeats
            wall = time.perf_counter() - began
            self.each = wall / task.n_repeats
            # What counts may be a small part of a call: repeating it may not take long either.
            n_calls = min(LEAST_SECONDS / max(counted, 1e-9), 5 * LEAST_SECONDS / max(wall, 1e-9))
            self.chosen.append((task, int(min(MOST_CALLS, max(1, n_calls)))))
            self.seconds += wall * (1 + self.chosen[-1][1] * self.n_rounds)

    def _predicted(self, task):
        """Seconds of one of its repeats, from the task before it."""
        if not self.chosen:
            return 0.0
        before = self.chosen[-1][0].macs
        grown = min(self.each * (task.macs / before - 1), (task.macs - before) / SLOWEST)
        return self.each + grown
