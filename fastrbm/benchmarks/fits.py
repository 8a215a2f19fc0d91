"""Exponents with confidence intervals, and where two curves cross.

A law seconds ~ size^e is a straight line in log(size), seconds ~ 2^(e size) one in size. The line
is fitted to log(seconds) by ordinary least squares, and the interval of its slope is Student's with
n - 2 degrees of freedom (N. Draper and H. Smith, Applied Regression Analysis, 1998, section 1.4).
It says how well the points lie on a line, not that they would do so elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

#: Probability that an interval covers the exponent, if the law holds.
CONFIDENCE = 0.95

#: A slope needs this many sizes before its interval says anything.
FEWEST_SIZES = 3


@dataclass(frozen=True)
class Exponent:
    """An exponent and its confidence interval.

    Examples
    --------
    >>> from fastrbm.benchmarks.fits import Exponent
    >>> str(Exponent(1.02, 0.99, 1.05))
    '1.02 [0.99, 1.05]'
    """

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def power_law(sizes, seconds):
    """Fit seconds ~ size^e.

    Parameters
    ----------
    sizes, seconds : array_like (n,), positive

    Returns
    -------
    Exponent

    Raises
    ------
    ValueError
        With fewer than three sizes.

    Examples
    --------
    >>> from fastrbm.benchmarks.fits import power_law
    >>> str(power_law([10, 20, 40], [3.0, 12.0, 48.0]))
    '2.00 [2.00, 2.00]'
    """
    return _slope(np.log(np.asarray(sizes, float)), np.log(np.asarray(seconds, float)))


def exponential(sizes, seconds):
    """Fit seconds ~ 2^(e size): e is 1 where a unit more doubles the time.

    Parameters
    ----------
    sizes, seconds : array_like (n,), seconds positive

    Returns
    -------
    Exponent

    Raises
    ------
    ValueError
        With fewer than three sizes.

    Examples
    --------
    >>> from fastrbm.benchmarks.fits import exponential
    >>> str(exponential([20, 21, 22], [0.1, 0.2, 0.4]))
    '1.00 [1.00, 1.00]'
    """
    return _slope(np.asarray(sizes, float), np.log2(np.asarray(seconds, float)))


def _slope(x, y):
    n = len(x)
    if n < FEWEST_SIZES:
        raise ValueError(f"an exponent needs at least {FEWEST_SIZES} sizes, got {n}")
    centred = x - x.mean()
    spread = centred @ centred
    slope = centred @ y / spread
    residual = y - y.mean() - slope * centred
    error = np.sqrt(residual @ residual / (n - 2) / spread)
    half = stdtrit(n - 2, 0.5 + CONFIDENCE / 2) * error
    return Exponent(float(slope), float(slope - half), float(slope + half))


def crossing(sizes, rising, other):
    """Return the size at which one curve overtakes another, or None.

    Parameters
    ----------
    sizes : array_like (n,), increasing
    rising, other : array_like (n,)
        Seconds at these sizes; between them log(seconds) is taken as straight in log(size).

    Returns
    -------
    float or None
        The last size from which `rising` is above `other` to the end; None where it ends below,
        or is above throughout.

    Examples
    --------
    >>> from fastrbm.benchmarks.fits import crossing
    >>> crossing([8, 16], [1.0, 4.0], [2.0, 2.0])
    11.313...
    >>> crossing([8, 16], [1.0, 1.5], [2.0, 2.0]) is None
    True
    """
    x = np.log(np.asarray(sizes, float))
    gap = np.log(np.asarray(rising, float)) - np.log(np.asarray(other, float))
    below = np.flatnonzero(gap <= 0)
    if not len(below) or below[-1] == len(gap) - 1:
        return None
    last = below[-1]
    share = -gap[last] / (gap[last + 1] - gap[last])
    return float(np.exp(x[last] + share * (x[last + 1] - x[last])))
