"""Likelihood of data, and the Kullback-Leibler divergence of their distribution from a model's."""

import math

import numpy as np

from ... import validation
from ..._lib import core
from ...model import check_model
from ..gap import mean_free_energy
from .partition import log_partition
from .result import LogPartition


def log_likelihood(rbm, data, *, log_z=None, beta=1.0):
    """Return the mean log-likelihood of rows: -mean F(v) - log Z.

    Parameters
    ----------
    rbm : RBM
    data : array_like (n_samples, n_visible)
        States of the visible units.
    log_z : float or LogPartition, optional
        log Z at this beta, where it is known; else `log_partition` computes it.
    beta : float, default 1.0

    Returns
    -------
    float
        Nats per row; a log-density where visible units are continuous.

    Raises
    ------
    TooLarge
        If log Z is not given and would take longer than 600 s.
    TypeError, ValueError
        For wrong shapes, values that are not states, and a log_z of another beta.

    Notes
    -----
    O(n_samples n_visible n_hidden), and log Z.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Bernoulli, log_likelihood
    >>> rbm = RBM(Bernoulli(3), Bernoulli(2), weights=np.zeros((3, 2)))
    >>> value = log_likelihood(rbm, [[0, 1, 1], [1, 0, 0]])
    >>> bool(np.isclose(value, -3 * np.log(2)))
    True
    """
    check_model("rbm", rbm)
    beta = validation.beta(beta, rbm._both_discrete)
    data = validation.table("data", data, rbm.n_visible)
    known = _log_z(log_z, beta)
    rbm.check_normalisable()
    wide = rbm.astype(np.float64)
    try:
        free_energy = mean_free_energy(wide, data, beta=beta)
    except core.StateError as error:
        raise validation.state_error("data", error, rbm.visible, data) from None
    if known is None:
        known = float(log_partition(wide, beta=beta))
    return -free_energy - known


def kl_divergence(rbm, data, *, log_z=None, beta=1.0):
    """Return KL(empirical || model): how far the model is from the distribution of the rows.

    The empirical distribution gives each distinct row its share of the rows.

    Parameters
    ----------
    rbm : RBM
        With discrete visible units.
    data : array_like (n_samples, n_visible)
        States of the visible units; repeated rows are counted.
    log_z : float or LogPartition, optional
        log Z at this beta, where it is known; else `log_partition` computes it.
    beta : float, default 1.0

    Returns
    -------
    float
        Nats, at least 0 up to rounding.

    Raises
    ------
    TooLarge
        If log Z is not given and would take longer than 600 s.
    TypeError, ValueError
        For continuous visible units, wrong shapes, and values that are not states.

    Notes
    -----
    The mean log-likelihood is minus the entropy of the rows minus this divergence.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Bernoulli, kl_divergence
    >>> rbm = RBM(Bernoulli(2), Bernoulli(1), weights=np.zeros((2, 1)))
    >>> bool(abs(kl_divergence(rbm, [[0, 0], [0, 1], [1, 0], [1, 1]])) < 1e-12)
    True
    >>> value = kl_divergence(rbm, [[0, 1], [0, 1]])
    >>> bool(np.isclose(value, 2 * np.log(2)))
    True
    """
    check_model("rbm", rbm)
    if not rbm.visible.discrete:
        raise ValueError(
            f"rbm must have discrete visible units: rows have no divergence from a density, "
            f"got {rbm.visible!r}"
        )
    data = validation.table("data", data, rbm.n_visible)
    likelihood = log_likelihood(rbm, data, log_z=log_z, beta=beta)
    packed = np.packbits(np.asarray(data) > 0, axis=1)  # the low state is 0 or -1
    counts = np.unique(packed, axis=0, return_counts=True)[1]
    share = counts / len(data)
    entropy = -math.fsum(share * np.log(share))
    return -entropy - likelihood


def _log_z(value, beta):
    """Return log Z as a float from a number or a result at this beta; None stays None."""
    if value is None:
        return None
    if isinstance(value, LogPartition):
        if value.info["beta"] != beta:
            raise ValueError(f"log_z is that of beta={value.info['beta']:g}, beta is {beta:g}")
        return value.value
    return validation.number("log_z", value)
