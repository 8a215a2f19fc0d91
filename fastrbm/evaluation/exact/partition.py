"""`log_partition`: which exact method, whether it fits, and the run.

The choice: units without couplings and parts that do not touch are taken apart first
(structure.py); each part goes to the method that would take the least time of all that apply, by
the rates in plan.py. A method asked for by name treats the model whole.
"""

import contextlib
import functools
import math
import os

import numpy as np

from ... import validation
from ...blas import one_blas_thread
from ...errors import Interrupted
from ...model import check_model
from ...sampling.run import provenance
from . import counts, elimination, gaussian, pairwise, quadrature, split, structure
from .plan import RATES, NotApplicable, Run, time_text, too_large
from .problem import Problem
from .result import LogPartition
from .shards import ShardPlan

METHODS = ("pairwise", "split", "quadrature", "counts", "elimination", "gaussian", "components")

#: Log-weights beyond this are further apart than double precision can tell.
LARGEST = 1e15
#: A method is looked for only where the best one so far would take longer than this.
QUICK = 2e-3


def log_partition(
    rbm,
    *,
    method="auto",
    dtype="float64",
    beta=1.0,
    max_seconds=600,
    max_bytes=None,
    n_threads=None,
    callback=None,
    progress=False,
):
    """Return log Z exactly, with a bound on its rounding.

    Z = sum (integral) over all v and h of exp(-beta E(v, h)), with the counting measure on discrete
    units and the Lebesgue measure on continuous ones; no constant is dropped.

    Parameters
    ----------
    rbm : RBM
    method : str, default "auto"
        "auto" takes the model apart where its couplings allow it and picks the cheapest method for
        each part. By name, for the model as a whole:

        - "pairwise": a Gaussian layer against a discrete one of n units; 2^n multiply-adds.
        - "split": a discrete layer of n units, enumerated, against any layer of m; 2^n m.
        - "quadrature": 1 to 3 Gaussian units against any number of discrete ones.
        - "counts": units with equal weights, counted: prod (m_g + 1) states for groups of m_g.
        - "elimination": sparse couplings, 2^width.
        - "gaussian": two Gaussian layers, in closed form.
        - "components": parts that do not touch, each by its cheapest method.
    dtype : {"float64", "float32"}
        Of the panels of the pairwise method; float32 takes half the time and says in ``.error``
        what it costs. All else is computed in float64.
    beta : float, default 1.0
        Multiplies the whole energy; >= 0 for discrete pairs, > 0 otherwise.
    max_seconds : float or None, default 600
        Work that is estimated to last longer is refused before it starts.
    max_bytes : float or None
        Memory, beside the model; None: what the machine has.
    n_threads : int, optional
        The result does not depend on it.
    callback : callable, optional
        Called with an `ExactState` a few times a second; returning True stops the run as Ctrl-C
        does.
    progress : bool, default False
        Show a bar; needs tqdm.

    Returns
    -------
    LogPartition
        ``.value`` in nats (also ``float(z)``), ``.method``, ``.reason``, ``.n_states``, ``.error``
        (a bound), ``.seconds``, ``.info``.

    Raises
    ------
    TooLarge
        A ValueError with ``.method``, ``.n_states``, ``.seconds`` and ``.bytes``; its message says
        what would fit.
    NotApplicable
        A ValueError: the method asked for by name cannot treat this model.
    TypeError, ValueError
        For arguments that do not fit, and models that cannot be normalised.
    Interrupted
        On Ctrl-C; ``.result`` holds the partial results of the shards that were done (see
        `Shards`), where the method has any.

    Notes
    -----
    Complexity by method as above, n the units of the enumerated layer. The pairwise product is the
    split-and-list method of A. Scott and G. Sorkin (2006), after R. Williams (2005), with one
    multiply-add a state.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Spin, Gaussian, log_partition
    >>> rbm = RBM(Spin(1000), Gaussian(1), weights=np.full((1000, 1), 1 / np.sqrt(1000)))
    >>> z = log_partition(rbm)
    >>> z.method, z.n_states
    ('counts', 1001)
    >>> by_grid = log_partition(rbm, method="quadrature")
    >>> bool(abs(z.value - by_grid.value) <= z.error + by_grid.error)
    True
    """
    problem, run = begin(rbm, method, dtype, beta, max_seconds, max_bytes, n_threads, callback,
                         progress)  # fmt: skip
    float32 = validation.model_dtype("dtype", dtype).itemsize == 4
    plan, reason = choose(problem, method, run, float32=float32)
    refuse(plan, plan.seconds(run.n_threads), plan.bytes(run.n_threads), run)
    found = carried(run, plan, lambda: plan.log_partition(run), plan.uses_blas)
    info = record(run, beta=problem.beta, dtype="float32" if float32 else "float64")
    return LogPartition(
        found.value, plan.name, reason, plan.n_states, found.error, info["seconds"], info
    )


def begin(rbm, method, dtype, beta, max_seconds, max_bytes, n_threads, callback, progress):
    """Check the arguments that exact functions share; return the problem and the run."""
    check_model("rbm", rbm)
    validation.choice("method", method, ("auto", *METHODS))
    validation.model_dtype("dtype", dtype)
    beta = validation.beta(beta, rbm._both_discrete)
    seconds, n_bytes = limits(max_seconds, max_bytes)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    progress = validation.flag("progress", progress)
    problem = Problem(rbm, beta)
    if not log_weight_bound(problem) <= LARGEST:
        raise ValueError(
            f"rbm: log-weights pass {LARGEST:.0e}, where double precision cannot tell the states "
            "apart; weights, biases or beta must be smaller"
        )
    return problem, Run(n_threads, seconds, n_bytes, callback, progress)


def limits(max_seconds, max_bytes=None):
    """Return the seconds and bytes that a run may take; None is no limit, and the machine.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.partition import limits
    >>> limits(None, 1e6)
    (inf, 1000000.0)
    """
    seconds, n_bytes = (
        None if value is None else validation.number(name, value, 0, open_minimum=True)
        for name, value in (("max_seconds", max_seconds), ("max_bytes", max_bytes))
    )
    return (
        math.inf if seconds is None else seconds,
        machine_bytes() if n_bytes is None else n_bytes,
    )


def log_weight_bound(problem):
    """Return a bound on the log-weights of the states of a discrete layer; 0 without one.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.partition import log_weight_bound
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(1, bias=0.5), weights=[[1.0], [2.0]])
    >>> log_weight_bound(Problem(rbm, 2.0))
    7.0
    """
    first, second, weights = problem.first, problem.second, abs(problem.weights)
    if not (first.discrete or second.discrete):
        return 0.0
    total = 0.0
    with np.errstate(over="ignore"):
        for layer, into in ((first, weights.sum(1)), (second, weights.sum(0))):
            if layer.discrete:
                total += abs(layer.bias).sum()
            else:
                total += ((abs(layer.bias) + into) ** 2 / (2 * layer.precision)).sum()
        if first.discrete and second.discrete:
            total += weights.sum()
        return float(problem.beta * total)


@functools.cache
def machine_bytes():
    """Return the memory of the machine or its control group, infinite where it is not known.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.partition import machine_bytes
    >>> machine_bytes() > 1e6
    True
    """
    try:
        machine = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        machine = math.inf
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            return min(machine, float(file.read()))
    except (OSError, ValueError):  # no control group, or "max"
        return machine


def record(run, **more):
    """Return the `info` of a result."""
    info = provenance(run.executor, None, run.elapsed(), **more)
    del info["key"]
    return info


def carried(run, plan, work, uses_blas=True):
    """Do the work with BLAS held to one thread; Ctrl-C raises `Interrupted`."""
    try:
        with one_blas_thread() if uses_blas else contextlib.nullcontext():
            found = work()
        run.finish()
    except KeyboardInterrupt:
        message = f"interrupted after {100 * run.done:.0f}% of {plan.name}"
        raise Interrupted(message, run.take_partials()) from None
    finally:
        run.close()
    return found


def refuse(plan, seconds, n_bytes, run):
    """Raise `TooLarge` if the plan does not fit; else the work begins."""
    if seconds > run.max_seconds or n_bytes > run.max_bytes:
        run.close()
        raise too_large(plan, seconds, n_bytes, run)
    run.begin(seconds)


def choose(problem, method, run, float32=False, price=None):
    """Return the plan for a problem and the reason in words; Ctrl-C raises `Interrupted`.

    Parameters
    ----------
    problem : Problem
    method : str
    run : Run
        Its threads and limits decide.
    float32 : bool
    price : callable, optional
        The seconds of a plan that shall be few; by default those of log Z.
    """
    if price is None:

        def price(plan):  # on one thread: bits may not depend on their number
            return plan.seconds(1)

    try:
        return _choose(problem, method, run, float32, price)
    except KeyboardInterrupt:
        run.close()
        raise Interrupted("interrupted while the method was chosen", None) from None


def _choose(problem, method, run, float32, price):
    if method not in ("auto", "components"):
        plans = list(candidates(problem, (method,), float32))
        plan = min(plans, key=price)
        return plan, f"asked for by name; {plan.reason}"
    free, parts = structure.split(problem)
    whole = len(parts) == 1 and not len(free[0]) and not len(free[1])
    if method == "components" and whole:
        raise NotApplicable("method 'components' needs parts that do not touch; here all units do")
    if whole:
        return cheapest(problem, run, price, float32)
    chosen = [cheapest(problem.part(*part), run, price, float32) for part in parts]
    plan = structure.ComponentsPlan(problem, free, parts, [plan for plan, _ in chosen])
    return plan, plan.reason


def cheapest(problem, run, price, float32=False):
    """Return the plan that costs least of those that fit, or of all; and the reason in words."""
    found = []

    def best():
        fitting = [
            plan
            for plan in found
            if plan.bytes(1) <= run.max_bytes and price(plan) <= run.max_seconds * run.n_threads
        ]
        return min(fitting or found, key=price) if found else None

    # From what is planned at no cost to what is not.
    for name in ("gaussian", "pairwise", "split", "counts", "quadrature", "elimination"):
        if found and price(best()) < QUICK and name in ("counts", "quadrature", "elimination"):
            continue
        if name == "elimination" and found:
            entries = elimination.least_entries(problem)
            if entries > 2.0 ** (elimination.WIDEST + 1):
                continue
            search = elimination.ordering_seconds(problem)
            if entries / RATES["elimination"] + search > price(best()):
                continue
        try:
            found += candidates(problem, (name,), float32)
        except NotApplicable:
            continue
    plan = best()
    others = sorted((p for p in found if p is not plan and p.name != plan.name), key=price)
    reason = plan.reason
    if others:
        shown = (f"{p.name} would take {time_text(price(p))}" for p in others[:2])
        reason += f" ({', '.join(shown)})"
    return plan, reason


def candidates(problem, names, float32=False):
    """Yield the plans of these methods, for each side that applies.

    Raises
    ------
    NotApplicable
        If there is none.
    """
    makers = {
        "pairwise": [lambda: pairwise.plan(problem, float32)],
        "split": [lambda s=s: split.plan(problem, s) for s in (1, 0)],
        "quadrature": [lambda s=s: quadrature.plan(problem, s) for s in (1, 0)],
        "counts": [lambda s=s: counts.plan(problem, s) for s in (0, 1)],
        "elimination": [lambda: elimination.plan(problem)],
        "gaussian": [lambda: gaussian.plan(problem)],
    }
    refusals, n_found = [], 0
    for name in names:
        for maker in makers[name]:
            try:
                plan = maker()
            except NotApplicable as refusal:
                refusals.append(refusal)
                continue
            n_found += 1
            yield plan
    if not n_found:
        # What the layer that the method is for says; the other one only lacks the unit type.
        raise max(refusals, key=lambda refusal: "at most" in str(refusal))


def shard_plan(problem, method, run, float32=False):
    """Return the plan of a method that is made of shards, "pairwise" or "split"."""
    if method == "auto":
        plans = []
        for name in ("pairwise", "split"):
            try:
                plans += candidates(problem, (name,), float32)
            except NotApplicable as refusal:
                error = refusal
        if not plans:
            raise error
        return min(plans, key=lambda plan: plan.seconds(1))
    plan, _ = choose(problem, method, run, float32)
    if not isinstance(plan, ShardPlan):
        raise NotApplicable(f"method {method!r} has no shards: use 'pairwise' or 'split'")
    return plan
