"""Pseudo-likelihood: how well each visible unit is foretold by all others."""

from .. import _lib, random, validation
from .._lib import core
from ..model import check_model


def pseudo_likelihood(rbm, data, *, exact=True, rng=None):
    """Return the mean log pseudo-likelihood of data: sum over i of log p(v_i | all other v).

    Parameters
    ----------
    rbm : RBM
        With discrete visible units.
    data : array_like (n_samples, n_visible)
        States of the visible units.
    exact : bool, default True
        False takes one random unit a row times n_visible: unbiased, n_visible times cheaper.
    rng : None, int, SeedSequence, BitGenerator or Generator
        For the random units of exact=False.

    Returns
    -------
    float
        Nats per row, at most 0.

    Raises
    ------
    ValueError
        For continuous visible units and for values that are not states.

    Notes
    -----
    O(n_samples n_visible n_hidden) either way: the inputs of the hidden units and, with exact=True,
    what every flip changes: a factor for each two-state hidden unit, or a cgf, some ten times as
    much, for Gaussian ones and where a weight times the ranges of both states is above 30 log 2.
    J. Besag, "Statistical analysis of non-lattice data", The Statistician 24 (1975).

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(4), fastrbm.Spin(1), weights=np.zeros((4, 1)))
    >>> value = fastrbm.pseudo_likelihood(rbm, [[1, -1, 1, 1]])
    >>> bool(np.isclose(value, -4 * np.log(2)))
    True
    """
    key = random.key(rng)
    check_model("rbm", rbm)
    exact = validation.flag("exact", exact)
    if not rbm.visible.discrete:
        raise ValueError(
            f"rbm must have discrete visible units for a pseudo-likelihood, got {rbm.visible!r}"
        )
    data = validation.table("data", data, rbm.n_visible)
    try:
        rows = rbm._core.pseudo_likelihood(_lib.executor(), data, exact, key)
    except core.StateError as error:
        raise validation.state_error("data", error, rbm.visible, data) from None
    return float(rows.mean())
