"""The learning rate: a number, a function of the epoch, or a default that is stable."""

from .. import validation

#: Rate of pairs whose units are all bounded.
BOUNDED_RATE = 0.05
#: Rows that the largest eigenvalue is estimated on.
EIGENVALUE_ROWS = 10_000


def learning_rate(setting, rbm, data, executor):
    """Return the rate as a function of the epoch.

    Parameters
    ----------
    setting : float, callable or None
        None chooses by the pair. With unbounded hidden units the update multiplies W by
        1 + rate <v v^T> / precision, so the rate is 0.5 min(precision) / (largest eigenvalue of
        <v v^T>). With unbounded visible units alone it is min(0.05, 2 min(precision) / n_hidden);
        0.05 otherwise.
    rbm : RBM
    data : fastrbm._lib.core.Data
    executor : fastrbm._lib.core.Exec

    Returns
    -------
    callable
        epoch (from 1) -> float.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.training.rate import learning_rate
    >>> rbm = fastrbm.RBM(fastrbm.Bernoulli(4), fastrbm.Bernoulli(2))
    >>> learning_rate(None, rbm, None, None)(1)
    0.05
    """
    if callable(setting):
        return lambda epoch: validation.number(f"learning_rate({epoch})", setting(epoch), minimum=0)
    rate = _default(rbm, data, executor) if setting is None else setting
    return lambda epoch: rate


def _default(rbm, data, executor):
    if not rbm.hidden.bounded:
        largest = data.leading_eigenvalue(executor, EIGENVALUE_ROWS)
        # Data that are all zero have no eigenvalue to be stable against.
        return 0.5 * _smallest_precision(rbm.hidden) / largest if largest > 0 else BOUNDED_RATE
    if not rbm.visible.bounded:
        return min(BOUNDED_RATE, 2 * _smallest_precision(rbm.visible) / rbm.n_hidden)
    return BOUNDED_RATE


def _smallest_precision(layer):
    return min(
        float(array.min())
        for name, array in layer.parameters.items()
        if name.startswith("precision")
    )
