"""Scalar functions that neither overflow nor cancel, elementwise on arrays of any float type."""

import math

import numpy as np
from scipy.special import expit as sigmoid

__all__ = ["LOG_2_PI", "inverse_softplus", "norms", "sigmoid", "softplus"]

LOG_2_PI = math.log(2 * math.pi)


def softplus(x):
    """Return log(1 + e^x).

    Examples
    --------
    >>> from fastrbm.flows.numerics import softplus
    >>> float(softplus(1000.0)), float(softplus(-1000.0))
    (1000.0, 0.0)
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def norms(rows):
    """Return the Euclidean norm of each row, where its square would overflow too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.numerics import norms
    >>> norms(np.array([[3e200, 4e200], [0.0, 0.0]]))
    array([5.e+200, 0.e+000])
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scale = np.where(largest > 0, largest, np.array(1, rows.dtype))
    return scale[:, 0] * np.sqrt(np.square(rows / scale).sum(axis=1))


def inverse_softplus(y):
    """Return the x > -inf at which softplus is y > 0.

    Examples
    --------
    >>> from fastrbm.flows.numerics import inverse_softplus, softplus
    >>> round(float(softplus(inverse_softplus(0.5))), 12)
    0.5
    """
    return y + np.log(-np.expm1(-y))
