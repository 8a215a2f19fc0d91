"""`exact_moments`, and the cheapest source of moments for a model whose parameters move."""

import dataclasses
import math

from ... import _lib, validation
from ..._lib import core
from ...model import check_model
from .partition import begin, candidates, carried, choose, record, refuse
from .plan import NotApplicable, Plan, Run, too_large
from .problem import Problem
from .result import ExactMoments

#: What a call of a method in Python takes at least, beside its work.
PYTHON_CALL = 1e-3


def exact_moments(
    rbm,
    *,
    beta=1.0,
    visible_products=None,
    heat_capacity=False,
    method="auto",
    max_seconds=600,
    max_bytes=None,
    n_threads=None,
    callback=None,
    progress=False,
):
    """Return the exact means, products and energies of a model.

    Parameters
    ----------
    rbm : RBM
    beta : float, default 1.0
        Multiplies the whole energy; >= 0 for discrete pairs, > 0 otherwise.
    visible_products : bool, optional
        Whether <v_i v_j> is wanted; None: where it costs nothing (the pairwise method).
    heat_capacity : bool, default False
        Whether beta^2 Var(E) is wanted; the pairwise method takes twice as long with it.
    method, max_seconds, max_bytes, n_threads, callback, progress
        As in `log_partition`.

    Returns
    -------
    ExactMoments
        ``.visible`` (n_visible,), ``.hidden`` (n_hidden,), ``.products`` (n_visible, n_hidden),
        ``.visible_products`` (n_visible, n_visible) or None, none of them centred;
        ``.log_partition``, ``.energy``, ``.entropy``, ``.heat_capacity``; ``.method``, ``.error``.

    Raises
    ------
    TooLarge, NotApplicable, Interrupted, TypeError, ValueError
        As `log_partition` does.

    Notes
    -----
    Three to five times the work of `log_partition`: reverse-mode products, three matrix products
    for the pairwise method, closed forms, a second pass for quadrature and counts, a reverse sweep
    a unit for elimination. Counts take units of equal weights and equal biases here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Spin, Gaussian, exact_moments
    >>> rbm = RBM(Spin(3), Gaussian(1), weights=[[1.0], [1.0], [-1.0]])
    >>> m = exact_moments(rbm)
    >>> m.visible.round(12).tolist(), bool(m.visible_products[0, 2] < 0)
    ([0.0, 0.0, 0.0], True)
    >>> bool(np.isclose(m.entropy, m.log_partition + m.energy))
    True
    """
    if visible_products is not None:
        visible_products = validation.flag("visible_products", visible_products)
    heat = validation.flag("heat_capacity", heat_capacity)
    problem, run = begin(rbm, method, "float64", beta, max_seconds, max_bytes, n_threads, callback,
                         progress)  # fmt: skip
    asked = (0,) if visible_products else ()

    def price(plan):
        heat_seconds = 3 * plan.seconds(run.n_threads) if heat and plan.gives_squares else 0.0
        return plan.moment_seconds(run.n_threads, asked) + heat_seconds

    plan, reason = choose(problem, method, run, price=price)
    refuse(plan, price(plan), plan.moment_bytes(run.n_threads, asked), run)
    wanted = plan.gives_squares if visible_products is None else visible_products
    raw = carried(run, plan, lambda: plan.moments(run, {0} if wanted else set(), heat))
    info = record(run, beta=problem.beta)
    beta = problem.beta
    return ExactMoments(
        visible=raw.first, hidden=raw.second, products=raw.products,
        visible_products=raw.squares.get(0), log_partition=raw.log_z, energy=raw.energy,
        entropy=raw.log_z + beta * raw.energy,
        heat_capacity=beta**2 * raw.energy_variance if heat else None,
        method=plan.name, reason=reason, n_states=plan.n_states, error=raw.error,
        seconds=info["seconds"], info=info,
    )  # fmt: skip


@dataclasses.dataclass(slots=True, eq=False)
class GradientSource:
    """Where an update finds the model's moments; see `gradient_source`.

    Attributes
    ----------
    method : str
    seconds : float
        Estimate for one call.
    side : int or None
        The layer that `engine` enumerates.
    engine : core.Split or None
        Reads the model's arrays at every call; C calls it without Python.
    function : callable or None
        ``log_z = function(products, visible, hidden)`` fills float64 arrays (n_visible, n_hidden),
        (n_visible,), (n_hidden,) with the moments of the model as it is then.
    """

    method: str
    seconds: float
    side: int | None
    engine: object
    function: object


def gradient_source(rbm, *, n_threads=None, max_seconds=math.inf):
    """Return the cheapest engine for repeated moments of a model that changes in place.

    Parameters
    ----------
    rbm : RBM
        Its arrays are looked at in every call. The structure of the present weights is not used:
        they will move.
    n_threads : int, optional
    max_seconds : float
        For one call.

    Returns
    -------
    GradientSource

    Raises
    ------
    TooLarge
        If one call would take longer than `max_seconds`.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm.evaluation.exact.moments import gradient_source
    >>> rbm = fastrbm.RBM(fastrbm.Spin(30), fastrbm.Gaussian(3), rng=1)
    >>> source = gradient_source(rbm)
    >>> products, visible, hidden = np.empty((30, 3)), np.empty(30), np.empty(3)
    >>> log_z = source.function(products, visible, hidden)
    >>> bool(abs(log_z - float(fastrbm.log_partition(rbm))) < 1e-10)
    True
    """
    check_model("rbm", rbm)
    problem, run = Problem(rbm, 1.0), Run(n_threads, max_seconds)
    found = []
    for name in ("gaussian", "pairwise", "split", "quadrature"):
        try:
            found += candidates(problem, (name,))
        except NotApplicable:
            continue

    def price(plan):
        seconds = plan.moment_seconds(run.n_threads)
        return seconds if plan.name == "split" else PYTHON_CALL + seconds

    plan = min(found, key=price)
    if price(plan) > max_seconds:
        raise too_large(plan, price(plan), plan.bytes(run.n_threads), run)
    if plan.name == "split":
        engine = core.Split(rbm._core, plan.side, run.n_threads)
        return GradientSource("split", price(plan), plan.side, engine, None)
    function = _Function(rbm, plan, n_threads)
    return GradientSource(plan.name, price(plan), None, None, function)


class _Function:
    """Moments of the model as it is, by one method."""

    def __init__(self, rbm, plan: Plan, n_threads):
        self.rbm, self.name, self.side = rbm, plan.name, int(getattr(plan, "swap", False))
        self.executor = _lib.executor(n_threads)
        self.n_threads = n_threads

    def __call__(self, products, visible, hidden):
        run = Run(self.n_threads)
        problem = Problem(self.rbm, 1.0)
        (plan,) = candidates(problem, (self.name,))
        raw = plan.moments(run, set(), False)
        products[...], visible[...], hidden[...] = raw.products, raw.first, raw.second
        return raw.log_z
