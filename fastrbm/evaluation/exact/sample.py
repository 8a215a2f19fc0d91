"""`exact_sample`: independent draws from the exact law."""

import numpy as np

from ... import random, validation
from .partition import begin, carried, choose, refuse


def exact_sample(
    rbm,
    n,
    *,
    rng=None,
    beta=1.0,
    dtype=None,
    method="auto",
    max_seconds=600,
    max_bytes=None,
    n_threads=None,
    callback=None,
    progress=False,
):
    """Draw n independent joint states (v, h) from p(v, h) = exp(-beta E) / Z.

    Parameters
    ----------
    rbm : RBM
    n : int
        How many.
    rng : None, int, SeedSequence, BitGenerator or Generator
        An int repeats, a Generator advances.
    beta : float, default 1.0
        Multiplies the whole energy; >= 0 for discrete pairs, > 0 otherwise.
    dtype : dtype, optional
        Of the states: the model's dtype, or int8, which applies where units are discrete.
    method, max_seconds, max_bytes, n_threads, callback, progress
        As in `log_partition`. Draws of one seed differ between methods.

    Returns
    -------
    v : ndarray (n, n_visible)
    h : ndarray (n, n_hidden)
        Row r of both is one joint draw; it does not depend on n.

    Raises
    ------
    TooLarge, NotApplicable, Interrupted, TypeError, ValueError
        As `log_partition` does.

    Notes
    -----
    log Z first, then the inverse distribution function: a 53-bit uniform chooses the shard by its
    mass and the state within it; the other layer is drawn given that state. With quadrature the
    place on the grid is drawn, then the discrete units given it, then the Gaussian ones given
    those, which is exact although the grid is discrete.

    Examples
    --------
    >>> from fastrbm import RBM, Spin, Gaussian, exact_sample
    >>> rbm = RBM(Spin(4, bias=[40.0, -40.0, 40.0, 40.0]), Gaussian(2), rng=1)
    >>> v, h = exact_sample(rbm, 3, rng=2, dtype="int8")
    >>> v.tolist(), h.shape
    ([[1, -1, 1, 1], [1, -1, 1, 1], [1, -1, 1, 1]], (3, 2))
    """
    key = random.key(rng)
    problem, run = begin(rbm, method, "float64", beta, max_seconds, max_bytes, n_threads, callback,
                         progress)  # fmt: skip
    n = validation.integer("n", n, 0)
    some = rbm.visible.discrete or rbm.hidden.discrete
    wanted = validation.state_dtype(dtype, some, rbm.dtype)

    def price(plan, n_threads=1):  # on one thread: draws may not depend on their number
        return plan.moment_seconds(n_threads)

    plan, _ = choose(problem, method, run, price=price)
    drawn_bytes = (
        24.0 * n * (rbm.n_visible + rbm.n_hidden)
    )  # as they are drawn, put together, given
    refuse(plan, price(plan, run.n_threads), plan.moment_bytes(run.n_threads) + drawn_bytes, run)
    drawn = carried(run, plan, lambda: plan.draw(run, n, key)) if n else (
        np.empty((0, rbm.n_visible)), np.empty((0, rbm.n_hidden)),
    )  # fmt: skip
    layers = rbm.visible, rbm.hidden
    return tuple(
        states.astype(wanted if layer.discrete else rbm.dtype)
        for states, layer in zip(drawn, layers, strict=True)
    )
