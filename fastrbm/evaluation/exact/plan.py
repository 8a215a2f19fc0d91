"""The protocol of exact methods, and what surrounds a run of one.

A method's `plan(problem, ...)` costs next to nothing and returns a `Plan`, or raises
`NotApplicable` with a sentence. A plan knows what it would take and how to do it:

    plan.name, plan.reason, plan.n_states, plan.seconds(n_threads), plan.bytes(n_threads)
    plan.log_partition(run)               -> Sum(value, error)
    plan.moments(run, squares, heat)      -> Raw, the means of both sides
    plan.draw(run, n, key)                -> visible (n, n_visible), hidden (n, n_hidden)

The seconds of a plan come from the rates below, which were measured on one core with AVX-512 and
are used to choose and to refuse; `Run` compares them with the clock while it works.
"""

import dataclasses
import math
import time

import numpy as np

from ... import _lib
from ...errors import TooLarge
from ...progress import Silent, progress_bar
from .result import count_text

#: Work a second on one core (bench/bench_exact.py measures them; x86-64 with AVX-512).
RATES = {
    "pairwise64": 26e9,  # multiply-adds, one a state
    "pairwise32": 52e9,
    "split": 13e9,  # (state, unit) pairs of two-state units
    "split_gaussian": 0.12e9,  # (state, unit) pairs through the unit's cgf
    "cgf": 0.06e9,  # cgfs of states that Python lays out: fields, cgf, sums
    "elimination": 0.04e9,  # table entries
    "cholesky": 10e9,  # multiply-adds
}
#: Seconds that any call takes.
OVERHEAD = 1e-4


class NotApplicable(ValueError):
    """A method that cannot treat this model; the message says why."""


@dataclasses.dataclass(slots=True)
class Sum:
    """log Z, nats, and a bound on its error."""

    value: float
    error: float


@dataclasses.dataclass(slots=True)
class Raw:
    """Means of one problem, in the order of its sides.

    `squares` maps a side (0, 1) to its second moments (n, n).
    """

    log_z: float
    error: float
    first: np.ndarray
    second: np.ndarray
    products: np.ndarray
    squares: dict
    energy: float
    energy_variance: float | None

    def swapped(self):
        """Return the same for the problem with its sides exchanged."""
        return dataclasses.replace(
            self,
            first=self.second,
            second=self.first,
            products=np.ascontiguousarray(self.products.T),
            squares={1 - side: square for side, square in self.squares.items()},
        )


class Plan:
    """How one method would treat one problem; see the head of this file."""

    name = ""
    reason = ""
    n_states = 0
    #: "at least " where n_states is only a bound.
    n_states_word = ""
    #: Whether log Z takes products of NumPy, whose threads are then to be one.
    uses_blas = True
    #: Whether second moments of the visible side come with all others.
    gives_squares = False

    def seconds(self, n_threads):
        """Return the seconds that log Z would take, estimated."""
        raise NotImplementedError

    def bytes(self, n_threads):
        """Return the memory that it would take."""
        return 0.0

    def fitting(self, ratio):
        """Say what would fit if only 1 / ratio of the work may be done."""
        return "a smaller model"

    def moment_seconds(self, n_threads, squares=()):
        """Return the seconds that moments would take, with second moments of sides `squares`."""
        return 4 * self.seconds(n_threads)

    def moment_bytes(self, n_threads, squares=()):
        """Return the memory that moments and draws would take."""
        return self.bytes(n_threads)


def fewer_units(n, ratio, what="enumerated"):
    """Return what of 2^n states would fit in 1 / ratio of the work.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.plan import fewer_units
    >>> fewer_units(40, 3.0)
    'a layer of at most 38 enumerated units'
    """
    if math.isinf(ratio):
        return f"a layer of far fewer than {n} {what} units"
    fits = max(1, n - math.ceil(math.log2(max(ratio, 1.0))))
    return f"a layer of at most {fits} {what} units"


@dataclasses.dataclass(slots=True)
class ExactState:
    """What a `callback` of an exact function sees.

    Attributes
    ----------
    done : float
        The finished part of the work, 0 to 1.
    seconds, seconds_left : float
        Since the start, and what the rest will take at this pace.

    Examples
    --------
    >>> import fastrbm
    >>> seen = []
    >>> rbm = fastrbm.RBM(fastrbm.Spin(4), fastrbm.Spin(3), rng=1)
    >>> z = fastrbm.log_partition(rbm, callback=lambda state: seen.append(state.done))
    >>> seen[-1]
    1.0
    """

    done: float
    seconds: float
    seconds_left: float


class Run:
    """One run of a plan: threads, clock, progress, and the user's callback.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.plan import Run
    >>> run = Run(1)
    >>> run.begin(2.0)
    >>> run.advance(2.0)
    >>> run.done
    1.0
    """

    #: A run this far over what was asked ends: the estimate was for a faster machine.
    PATIENCE = 1.5
    #: Part of the work from which on its time tells how long the rest takes.
    TELLING = 0.02

    def __init__(self, n_threads=None, max_seconds=math.inf, max_bytes=math.inf, callback=None,
                 progress=False):  # fmt: skip
        self.executor = _lib.executor(n_threads)
        self.n_threads = self.executor.n_threads
        self.max_seconds, self.max_bytes = max_seconds, max_bytes
        self.callback, self.bar = callback, progress_bar(progress, 100, "%")
        self.began = time.perf_counter()
        self.total, self.spent, self.shown = 1.0, 0.0, 0
        self.partials = []  # partial results of shards that are done

    @property
    def done(self):
        """float: The finished part of the work."""
        return min(1.0, self.spent / self.total)

    @property
    def watched(self):
        """bool: Whether anybody looks at the progress."""
        return self.callback is not None or not isinstance(self.bar, Silent)

    def take_partials(self):
        """Return the partial results of finished shards as one array, None where there are none."""
        return np.concatenate(self.partials) if self.partials else None

    def elapsed(self):
        """Return the seconds since the start."""
        return time.perf_counter() - self.began

    def begin(self, total):
        """Say what the whole work will be, in seconds as the plan estimates them."""
        self.total = max(total, 1e-12)

    def advance(self, seconds, plan=None):
        """Count work as done; stops a run that the callback or the clock ends."""
        self.spent += seconds
        done, elapsed = self.done, self.elapsed()
        left = elapsed * (1 - done) / done if done > 0 else math.inf
        percent = int(100 * done)
        self.bar.update(percent - self.shown)
        self.shown = percent
        known = elapsed + left if done >= self.TELLING else elapsed
        if plan is not None and elapsed > 1 and known > self.PATIENCE * self.max_seconds:
            raise too_large(plan, elapsed + left, plan.bytes(self.n_threads), self)
        if self.callback is not None and self.callback(ExactState(done, elapsed, left)):
            raise KeyboardInterrupt

    def finish(self):
        """Bring progress to its end."""
        if self.spent < self.total:
            self.advance(self.total - self.spent)
        self.close()

    def close(self):
        """Close the progress bar."""
        self.bar.__exit__(None, None, None)


def too_large(plan, seconds, n_bytes, run):
    """Return the `TooLarge` that says what the plan would take and what would fit."""
    over_time = seconds / run.max_seconds
    over_bytes = n_bytes / run.max_bytes
    asked = [f"max_seconds={run.max_seconds:g}"] if over_time > 1 else []
    asked += [f"max_bytes={run.max_bytes:.3g}"] if over_bytes > 1 else []
    needed = [f"max_seconds={math.ceil(seconds):.3g}"] if over_time > 1 and seconds < 1e7 else []
    needed += [f"max_bytes={math.ceil(n_bytes):.3g}"] if over_bytes > 1 and n_bytes < 1e12 else []
    fits = [plan.fitting(max(over_time, over_bytes)), *needed]
    message = (
        f"method {plan.name!r} would sum {plan.n_states_word}{count_text(plan.n_states)} states, "
        f"{time_text(seconds)}, with {bytes_text(n_bytes)} of memory, over "
        f"{' and '.join(asked)}; would fit: {', or '.join(fits)}"
    )
    return TooLarge(message, plan.name, plan.n_states, seconds, n_bytes)


def time_text(seconds):
    """Return a time in words.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.plan import time_text
    >>> time_text(0.25), time_text(7200), time_text(1e12), time_text(1e20)
    ('about 0.25 s', 'about 2 h', 'about 3.2e+04 years', 'over 1e6 years')
    """
    if math.isinf(seconds):
        return "too long to estimate"
    if seconds > 3e13:
        return "over 1e6 years"
    for unit, size in (("years", 3.15576e7), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.2g} {unit}"
    return f"about {seconds:.2g} s"


def bytes_text(n):
    """Return a size in memory in words.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.plan import bytes_text
    >>> bytes_text(3e9), bytes_text(100)
    ('3 GB', '0.1 kB')
    """
    if n > 1e18:
        return "over 1e6 TB"
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"


def work(log2_states, per_state=1.0):
    """Return 2^log2_states per_state as a float, infinite where it overflows.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.plan import work
    >>> work(10, 2.0), work(5000)
    (2048.0, inf)
    """
    return math.ldexp(per_state, log2_states) if log2_states < 1000 else math.inf
