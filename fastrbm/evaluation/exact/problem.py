"""A model at one temperature as exact methods take it: float64, contiguous, either side first.

Methods that enumerate, integrate or count "the first side" are written once, for the visible side;
`swapped` turns the model around for the other one.
"""

import numpy as np

from ..._lib import core
from ...model import RBM

#: Unit roundoff of float64 and of the widest float that NumPy has here.
U = 2.0**-53
U_LONG = float(np.finfo(np.longdouble).eps) / 2


class Problem:
    """An RBM, widened to float64, and beta.

    Parameters
    ----------
    rbm : RBM
        Copied; checked to be finite and normalisable.
    beta : float

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> problem = Problem(fastrbm.RBM(fastrbm.Spin(3), fastrbm.Gaussian(2)), 1.0)
    >>> problem.swapped().first, problem.swapped().weights.shape
    (Gaussian(2), (2, 3))
    """

    __slots__ = ("beta", "rbm")

    def __init__(self, rbm, beta):
        rbm.check_normalisable()
        self.rbm = rbm.astype(np.float64)
        self.beta = beta

    @property
    def first(self):
        """Layer: The visible side."""
        return self.rbm.visible

    @property
    def second(self):
        """Layer: The hidden side."""
        return self.rbm.hidden

    @property
    def weights(self):
        """ndarray (first.n, second.n)."""
        return self.rbm.weights

    def swapped(self):
        """Return the same law with the sides' names exchanged."""
        return Problem(RBM(self.second, self.first, weights=self.weights.T), self.beta)

    def part(self, first, second):
        """Return the model of these units alone (index arrays)."""
        layers = [take(self.first, first), take(self.second, second)]
        return Problem(RBM(*layers, weights=self.weights[np.ix_(first, second)]), self.beta)

    def oriented(self, side):
        """Return the problem with this side (0 visible, 1 hidden) first."""
        return self if side == 0 else self.swapped()


def take(layer, units):
    """Return a layer of some of the units."""
    named = {name: array[units] for name, array in layer.parameters.items()}
    return type(layer)(len(units), **named)


def states(layer):
    """Return (low, high) of a layer of two-state units.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.problem import states
    >>> states(fastrbm.Spin(3))
    (-1.0, 1.0)
    """
    low, high = core.unit_states(layer.unit)
    return float(low), float(high)


def bits(n, first=0, count=None):
    """Return rows of 0 and 1: bit i of the row's number is unit i, float64 (count, n).

    Examples
    --------
    >>> from fastrbm.evaluation.exact.problem import bits
    >>> bits(2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    count = 2**n - first if count is None else count
    return bits_of(np.uint64(first) + np.arange(count, dtype=np.uint64), n)


def bits_of(numbers, n):
    """Return the lowest n bits of each number, float64 (m, n).

    Examples
    --------
    >>> from fastrbm.evaluation.exact.problem import bits_of
    >>> bits_of([5], 4).tolist()
    [[1.0, 0.0, 1.0, 0.0]]
    """
    numbers = np.asarray(numbers, np.uint64)
    return ((numbers[:, None] >> np.arange(n, dtype=np.uint64)) & np.uint64(1)).astype(np.float64)
