"""The learning rate: a number, a function of the epoch, or a default that is stable."""

import math

import numpy as np

from .. import validation
from .._lib import core

#: Rate of pairs whose units are all bounded, with enough updates an epoch.
BOUNDED_RATE = 0.05
#: Small weights grow exponentially, by about the rate an update, before anything can be seen to be
#: learnt. Data that give fewer updates an epoch than this get a larger rate in proportion, else the
#: default ten epochs end before learning begins: on `datasets.digits` in batches of 100 (64 hidden,
#: 10 epochs) the pseudo-likelihood is -23.7 nats a row at 0.05 and -15.8 at 0.3.
ENOUGH_UPDATES = 108
#: Above this rate the hidden means act together as one stiff visible bias, and learning stalls.
LARGEST_BOUNDED_RATE = 0.3
#: Rows that the largest eigenvalue is estimated on.
EIGENVALUE_ROWS = 10_000


#: The exact gradient's rate times (mean |v|^2) (squared span of the hidden layer). Long runs in
#: full batches at momentum 0.5 began to swing at 40 to 80 (bars and stripes 3x3 and noisy patterns
#: as bits and as spins, 8 to 64 hidden units of each type).
STEADY = 24.0
#: Squared span of Gaussian hidden units times min(precision) / n_visible: from the same runs.
GAUSSIAN_SPAN = 30.0


def learning_rate(setting, default):
    """Return the rate as a function of the epoch.

    Parameters
    ----------
    setting : float, callable or None
    default : callable
        Returns the rate for None.

    Returns
    -------
    callable
        epoch (from 1) -> float.

    Examples
    --------
    >>> from fastrbm.training.rate import learning_rate
    >>> learning_rate(None, lambda: 0.05)(1), learning_rate(lambda epoch: 1 / epoch, None)(4)
    (0.05, 0.25)
    """
    if callable(setting):
        return lambda epoch: validation.number(f"learning_rate({epoch})", setting(epoch), minimum=0)
    rate = default() if setting is None else setting
    return lambda epoch: rate


def default_rate(rbm, data, batch_size, executor):
    """Return the rate of contrastive divergence, by the pair.

    With unbounded hidden units the update multiplies W by 1 + rate <v v^T> / precision, so the rate
    is 0.5 min(precision) / (largest eigenvalue of <v v^T>). With unbounded visible units alone it
    is min(0.05, 2 min(precision) / n_hidden); otherwise 0.05, and in proportion more, up to 0.3,
    with fewer than 108 updates an epoch.

    Parameters
    ----------
    rbm : RBM
    data : fastrbm._lib.core.Data
    batch_size : int
    executor : fastrbm._lib.core.Exec

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.training.rate import default_rate
    >>> import numpy as np
    >>> from fastrbm import _lib
    >>> from fastrbm._lib import core
    >>> rbm = fastrbm.RBM(fastrbm.Bernoulli(4), fastrbm.Bernoulli(2))
    >>> data = core.Data(_lib.executor(), rbm._core, np.zeros((1080, 4)))
    >>> default_rate(rbm, data, 10, None), default_rate(rbm, data, 100, None)
    (0.05, 0.3)
    """
    if not rbm.hidden.bounded:
        largest = data.leading_eigenvalue(executor, EIGENVALUE_ROWS)
        # Data that are all zero have no eigenvalue to be stable against.
        return 0.5 * _smallest_precision(rbm.hidden) / largest if largest > 0 else BOUNDED_RATE
    if not rbm.visible.bounded:
        return min(BOUNDED_RATE, 2 * _smallest_precision(rbm.visible) / rbm.n_hidden)
    updates = math.ceil(data.n_rows / batch_size)
    return min(LARGEST_BOUNDED_RATE, BOUNDED_RATE * max(1.0, ENOUGH_UPDATES / updates))


def steady_rate(rbm, rows):
    """Return the largest rate that the exact gradient is safe at near a good fit.

    A model that divides its probability between regions whose v h^T differ by D has a likelihood of
    curvature |D|^2 / 4 for moving probability from one to the other, and steps that are too long
    throw all of it to one side. CD does not see this: its chains stay where the data are. The rate
    is 24 / (mean |v|^2 span^2): span^2 = n_hidden (high - low)^2 for two-state hidden units, and
    30 n_visible / min(precision) for Gaussian ones, whose means must outweigh n_visible flips.

    Parameters
    ----------
    rbm : RBM
    rows : ndarray (n_samples, n_visible)
        The data.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.training.rate import steady_rate
    >>> rbm = fastrbm.RBM(fastrbm.Bernoulli(9), fastrbm.Bernoulli(64))
    >>> round(steady_rate(rbm, fastrbm.datasets.bars_and_stripes(3)), 4)
    0.0833
    """
    if rbm.visible.unit == "spin":
        square = float(rbm.n_visible)
    elif rbm.visible.bounded:
        square = float(np.sum(rows, dtype=np.float64)) / len(rows)
    else:
        square = sum(float(np.sum(np.square(row, dtype=np.float64))) for row in rows) / len(rows)
    if rbm.hidden.bounded:
        low, high = core.unit_states(rbm.hidden.unit)
        span = rbm.n_hidden * (high - low) ** 2
    else:
        span = GAUSSIAN_SPAN * rbm.n_visible / _smallest_precision(rbm.hidden)
    return STEADY / (square * span) if square > 0 else math.inf


def _smallest_precision(layer):
    return min(
        float(array.min())
        for name, array in layer.parameters.items()
        if name.startswith("precision")
    )
