"""`exact_moments`, and the cheapest source of moments for a model whose parameters move."""

from ... import validation
from ..._lib import core
from ...model import check_model
from .partition import begin, candidates, carried, choose, limits, record, refuse
from .plan import NotApplicable, Run, time_text
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

    def price(plan, n_threads=1):
        heat_seconds = 3 * plan.seconds(n_threads) if heat and plan.gives_squares else 0.0
        return plan.moment_seconds(n_threads, asked) + heat_seconds

    plan, reason = choose(problem, method, run, price=price)
    refuse(plan, price(plan, run.n_threads), plan.moment_bytes(run.n_threads, asked), run)
    wanted = plan.gives_squares if visible_products is None else visible_products
    raw = carried(run, plan, lambda: plan.moments(run, {0} if wanted else set(), heat))
    info = record(run, beta=problem.beta)
    beta = problem.beta
    return ExactMoments(
        visible=raw.first, hidden=raw.second, products=raw.products,
        visible_products=_symmetric(raw.squares.get(0)), log_partition=raw.log_z, energy=raw.energy,
        entropy=raw.log_z + beta * raw.energy,
        heat_capacity=beta**2 * raw.energy_variance if heat else None,
        method=plan.name, reason=reason, n_states=plan.n_states, error=raw.error,
        seconds=info["seconds"], info=info,
    )  # fmt: skip


def _symmetric(square):
    """Return what is symmetric but for rounding as exactly so."""
    return None if square is None else (square + square.T) / 2


class GradientSource:
    """Where an update finds the model's moments; see `gradient_source`.

    Attributes
    ----------
    name, reason : str
        The method, and why.
    seconds, bytes : float
        Estimates for one call.
    split : core.Split or None
        The engine, where it is the split product: it reads the model's arrays at every call, and C
        calls it without Python.
    side : int or None
        The layer that `split` enumerates: 0 visible, 1 hidden.
    """

    def __init__(self, rbm, plan, n_threads, seconds):
        self.name, self.reason = plan.name, plan.reason
        self.seconds, self.bytes = seconds, plan.moment_bytes(n_threads)
        self._rbm, self._n_threads = rbm, n_threads
        self.split = self.side = None
        if plan.name == "split":
            self.side = plan.side
            self.split = core.Split(rbm._core, plan.side, n_threads)

    def __repr__(self):
        return f"GradientSource({self.name}, {time_text(self.seconds)} a call)"

    def fill(self, executor, products, visible, hidden):
        """Write the moments of the model as it is now and return log Z.

        Parameters
        ----------
        executor : core.Exec
        products, visible, hidden : ndarray (n_visible, n_hidden), (n_visible,), (n_hidden,)
            Float64, C-contiguous; written over.

        Raises
        ------
        ArithmeticError
            If the present parameters cannot be normalised.
        """
        if self.split is not None:
            return self.split.moments(executor, 1.0, products, visible, hidden, None, None)
        try:
            problem, run = Problem(self._rbm, 1.0), Run(executor.n_threads)
            (plan,) = candidates(problem, (self.name,))
            raw = plan.moments(run, set(), False)
        except ValueError as error:
            raise ArithmeticError(str(error)) from error
        products[...], visible[...], hidden[...] = raw.products, raw.first, raw.second
        return raw.log_z


def gradient_source(rbm, *, n_threads=None, max_seconds=None, max_bytes=None):
    """Return the cheapest source of repeated moments of a model that changes in place.

    Parameters
    ----------
    rbm : RBM
        Its arrays are looked at in every call. The structure of the present weights is not used:
        they will move.
    n_threads : int, optional
    max_seconds, max_bytes : float, optional
        For one call.

    Returns
    -------
    GradientSource

    Raises
    ------
    TooLarge
        If one call would take more.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm import _lib
    >>> from fastrbm.evaluation.exact.moments import gradient_source
    >>> rbm = fastrbm.RBM(fastrbm.Spin(20), fastrbm.Gaussian(5), rng=1)
    >>> source = gradient_source(rbm)
    >>> products, visible, hidden = np.empty((20, 5)), np.empty(20), np.empty(5)
    >>> log_z = source.fill(_lib.executor(), products, visible, hidden)
    >>> bool(abs(log_z - float(fastrbm.log_partition(rbm))) < 1e-10)
    True
    """
    check_model("rbm", rbm)
    problem, run = Problem(rbm, 1.0), Run(n_threads, *limits(max_seconds, max_bytes))
    found = []
    for name in ("gaussian", "pairwise", "split", "quadrature"):
        try:
            found += candidates(problem, (name,))
        except NotApplicable:
            continue

    def price(plan, n_threads=1):
        seconds = plan.moment_seconds(n_threads)
        return seconds if plan.name == "split" else PYTHON_CALL + seconds

    plan = min(found, key=price)  # on one thread: bits may not depend on their number
    seconds = price(plan, run.n_threads)
    refuse(plan, seconds, plan.moment_bytes(run.n_threads), run)
    return GradientSource(rbm, plan, run.n_threads, seconds)
