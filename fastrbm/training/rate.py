"""The learning rate: a number, a function of the epoch, or a default that is stable."""

import math

from .. import validation

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


def learning_rate(setting, rbm, data, batch_size, executor):
    """Return the rate as a function of the epoch.

    Parameters
    ----------
    setting : float, callable or None
        None chooses by the pair. With unbounded hidden units the update multiplies W by
        1 + rate <v v^T> / precision, so the rate is 0.5 min(precision) / (largest eigenvalue of
        <v v^T>). With unbounded visible units alone it is min(0.05, 2 min(precision) / n_hidden);
        otherwise 0.05, and in proportion more, up to 0.3, with fewer than 108 updates an epoch.
    rbm : RBM
    data : fastrbm._lib.core.Data
    batch_size : int
    executor : fastrbm._lib.core.Exec

    Returns
    -------
    callable
        epoch (from 1) -> float.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.training.rate import learning_rate
    >>> import numpy as np
    >>> from fastrbm._lib import core
    >>> rbm = fastrbm.RBM(fastrbm.Bernoulli(4), fastrbm.Bernoulli(2))
    >>> data = core.Data(rbm._core, np.zeros((1080, 4)))
    >>> learning_rate(None, rbm, data, 10, None)(1), learning_rate(None, rbm, data, 100, None)(1)
    (0.05, 0.3)
    """
    if callable(setting):
        return lambda epoch: validation.number(f"learning_rate({epoch})", setting(epoch), minimum=0)
    rate = _default(rbm, data, batch_size, executor) if setting is None else setting
    return lambda epoch: rate


def _default(rbm, data, batch_size, executor):
    if not rbm.hidden.bounded:
        largest = data.leading_eigenvalue(executor, EIGENVALUE_ROWS)
        # Data that are all zero have no eigenvalue to be stable against.
        return 0.5 * _smallest_precision(rbm.hidden) / largest if largest > 0 else BOUNDED_RATE
    if not rbm.visible.bounded:
        return min(BOUNDED_RATE, 2 * _smallest_precision(rbm.visible) / rbm.n_hidden)
    updates = math.ceil(data.n_rows / batch_size)
    return min(LARGEST_BOUNDED_RATE, BOUNDED_RATE * max(1.0, ENOUGH_UPDATES / updates))


def _smallest_precision(layer):
    return min(
        float(array.min())
        for name, array in layer.parameters.items()
        if name.startswith("precision")
    )
