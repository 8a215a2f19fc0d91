"""Exact sums by their definition, in NumPy: every visible state in turn, a block at a time.

What exact training means to most codes, and so what the exact methods of the package are measured
against: Z = sum over v of exp(-F(v)), with

    -F(v) = sum_i a_i(v_i) + sum_mu cgf_mu(sum_i W_i,mu v_i),

2^N states, N p multiplications each. Written as well as NumPy allows: the fields of a block are one
matrix product, blocks fit in cache, sums are shifted by their maximum, and memory does not grow.
"""

import numpy as np

#: States in one block.
BLOCK = 4096


def log_partition(rbm):
    """Return log Z of an RBM with a two-state visible layer.

    Parameters
    ----------
    rbm : RBM
        Bernoulli or Spin visible; any hidden units.

    Returns
    -------
    float
        In nats. O(2^n_visible n_visible n_hidden).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.benchmarks import naive
    >>> from fastrbm.layers import Bernoulli
    >>> from fastrbm.model import RBM
    >>> rbm = RBM(Bernoulli(3), Bernoulli(2), weights=np.zeros((3, 2)))
    >>> bool(abs(naive.log_partition(rbm) - 5 * np.log(2)) < 1e-14)
    True
    """
    weights = np.asarray(rbm.weights, np.float64)
    shift, total = -np.inf, 0.0
    for states in _states(rbm.visible):
        logs = _log_weights(rbm, states, states @ weights)
        top = max(shift, logs.max())
        total = total * np.exp(shift - top) + np.exp(logs - top).sum()
        shift = top
    return float(shift + np.log(total))


def products(rbm):
    """Return log Z and the mean products <v_i h_mu>, the model term of the exact gradient.

    Parameters
    ----------
    rbm : RBM
        Bernoulli or Spin visible; any hidden units.

    Returns
    -------
    float
    ndarray (n_visible, n_hidden)

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.benchmarks import naive
    >>> from fastrbm.layers import Bernoulli
    >>> from fastrbm.model import RBM
    >>> naive.products(RBM(Bernoulli(3), Bernoulli(2), weights=np.zeros((3, 2))))[1]
    array([[0.25, 0.25],
           [0.25, 0.25],
           [0.25, 0.25]])
    """
    weights = np.asarray(rbm.weights, np.float64)
    shift, total, sums = -np.inf, 0.0, np.zeros(weights.shape)
    for states in _states(rbm.visible):
        fields = states @ weights
        logs = _log_weights(rbm, states, fields)
        top = max(shift, logs.max())
        probability = np.exp(logs - top)
        total = total * np.exp(shift - top) + probability.sum()
        sums *= np.exp(shift - top)
        sums += states.T @ (probability[:, None] * _mean(rbm.hidden, fields))
        shift = top
    return float(shift + np.log(total)), sums / total


def _states(layer):
    """Every state of a two-state layer, a block of rows at a time; bit i of a number is unit i."""
    low = {"bernoulli": 0.0, "spin": -1.0}[layer.unit]
    for first in range(0, 2**layer.n, BLOCK):
        numbers = np.arange(first, min(first + BLOCK, 2**layer.n))
        bits = (numbers[:, None] >> np.arange(layer.n)) & 1
        yield np.where(bits, 1.0, low)


def _log_weights(rbm, states, fields):
    """-F(v) of a block of states, whose inputs to the hidden units are `fields`."""
    hidden = rbm.hidden
    bias = np.asarray(hidden.bias, np.float64)
    inputs = fields + bias
    if hidden.unit == "bernoulli":
        cgf = np.logaddexp(0, inputs).sum(axis=1)
    elif hidden.unit == "spin":
        cgf = np.logaddexp(inputs, -inputs).sum(axis=1)
    else:
        precision = np.asarray(hidden.precision, np.float64)
        cgf = (inputs**2) @ (0.5 / precision) + 0.5 * np.log(2 * np.pi / precision).sum()
    return states @ np.asarray(rbm.visible.bias, np.float64) + cgf


def _mean(hidden, fields):
    inputs = fields + np.asarray(hidden.bias, np.float64)
    if hidden.unit == "bernoulli":
        return 0.5 + 0.5 * np.tanh(0.5 * inputs)
    if hidden.unit == "spin":
        return np.tanh(inputs)
    return inputs / np.asarray(hidden.precision, np.float64)
