"""Scalar functions that neither overflow nor cancel, elementwise on arrays of any float type."""

import math

import numpy as np
from scipy.special import expit as sigmoid

__all__ = ["LOG_2_PI", "inverse_softplus", "sigmoid", "softplus"]

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


def inverse_softplus(y):
    """Return the x > -inf at which softplus is y > 0.

    Examples
    --------
    >>> from fastrbm.flows.numerics import inverse_softplus, softplus
    >>> round(float(softplus(inverse_softplus(0.5))), 12)
    0.5
    """
    return y + np.log(-np.expm1(-y))
