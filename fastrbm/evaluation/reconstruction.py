"""Reconstruction error: cheap, and only a hint; it falls for models that mix badly too."""

from .. import _lib, random, validation
from .._lib import core
from ..model import check_model


def reconstruction_error(rbm, data, *, rng=None):
    """Return the mean over rows and units of (v - E[v | h])^2, with h drawn given v.

    Parameters
    ----------
    rbm : RBM
    data : array_like (n_samples, n_visible)
        States of the visible units.
    rng : None, int, SeedSequence, BitGenerator or Generator
        For h.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For wrong shapes and for values that are not states of the units.

    Notes
    -----
    O(n_samples n_visible n_hidden). G. Hinton, "A practical guide to training restricted Boltzmann
    machines" (2010), section 5, on why not to trust it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Spin
    >>> from fastrbm.evaluation import reconstruction_error
    >>> rbm = RBM(Spin(4), Spin(1), weights=np.zeros((4, 1)))
    >>> reconstruction_error(rbm, [[1, -1, 1, 1]], rng=1)
    1.0
    """
    key = random.key(rng)
    check_model("rbm", rbm)
    data = validation.table("data", data, rbm.n_visible)
    try:
        rows = rbm._core.reconstruction_error(_lib.executor(), data, key)
    except core.StateError as error:
        raise validation.state_error("data", error, rbm.visible, data) from None
    return float(rows.mean())
