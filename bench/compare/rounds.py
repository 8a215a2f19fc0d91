"""Interleaved timing: every contestant once a round, ratios within a round, median and spread.

Times of a shared machine drift by more than what is to be shown; ratios of pieces that ran beside
each other do not. The order turns from round to round, so that nobody always follows the same
contestant, and a pause lets the idle threads of one library fall asleep before the next begins.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable

PAUSE = 0.03


@dataclasses.dataclass
class Contestant:
    """Something to time.

    Attributes
    ----------
    name : str
    run : callable
        ``run(n)`` makes n units of work.
    grain : int
        n is a multiple of it,
    most : int
        and at most this; longer pieces are several runs.
    threads : callable
        ``threads(n)`` is the context of n threads, entered and left outside of what is timed.
    choices : tuple of int
        Numbers of threads; `warm_up` keeps the fastest, as more of them slow small work down.
    n : int
        Units of a timed piece, found by `warm_up`.
    """

    name: str
    run: Callable
    grain: int = 1
    most: int = 10**9
    threads: Callable = contextlib.nullcontext
    choices: tuple = (None,)
    n: int = 0

    def __post_init__(self):
        self.n_threads = self.choices[0]

    def seconds(self, n):
        """Return the time of n units."""
        whole, rest = divmod(n, self.most)
        with self.threads(self.n_threads):
            began = time.perf_counter()
            for _ in range(whole):
                self.run(self.most)
            if rest:
                self.run(rest)
            return time.perf_counter() - began

    def warm_up(self, target):
        """Compile, touch memory, choose threads, find how many units take `target` seconds."""
        n = self.grain
        tried = {}
        for n_threads in self.choices:
            self.n_threads = n_threads
            self.seconds(n)
            tried[n_threads] = min(self.seconds(n) for _ in range(len(self.choices)))
        self.n_threads = min(tried, key=tried.get)
        taken = tried[self.n_threads]
        while taken < target / 8:
            n = min(2 * n, self.most) if n < self.most else 2 * n
            taken = self.seconds(n)
        wanted = max(1, round(n * target / taken / self.grain)) * self.grain
        if wanted > self.most:  # whole runs: a part of one would be a smaller data set
            wanted = max(1, round(wanted / self.most)) * self.most
        self.n = wanted


def race(contestants, n_rounds, target):
    """Return {name: [seconds a unit, one for each round]}.

    Parameters
    ----------
    contestants : list of Contestant
    n_rounds : int
    target : float
        Seconds of a timed piece, roughly.
    """
    for contestant in contestants:
        contestant.warm_up(target)
    times = {contestant.name: [] for contestant in contestants}
    for number in range(n_rounds):
        shift = number % len(contestants)
        for contestant in contestants[shift:] + contestants[:shift]:
            time.sleep(PAUSE)
            times[contestant.name].append(contestant.seconds(contestant.n) / contestant.n)
    return times


def ratio(numerator, denominator):
    """Return (median, least, greatest) of the ratios of two lists of times, round by round."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
