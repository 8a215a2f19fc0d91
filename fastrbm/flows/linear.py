"""Linear maps: permutations, and a matrix by its LU factors.

y = L U x + shift with L unit lower and U upper triangular, the diagonal of U being exp(log_diagonal):
log|det| is the sum of log_diagonal, and the inverse is two triangular solves. D. Kingma, P.
Dhariwal, "Glow", NeurIPS 2018, section 3.2 (with a permutation beside it, which stays fixed).
"""

import numpy as np
from scipy.linalg import solve_triangular

from .. import validation
from .bijection import Bijection


class Permutation(Bijection):
    """y_i = x_order[i]; the volume is kept.

    Parameters
    ----------
    order : sequence of int
        Each of 0 .. dim - 1 once.

    Examples
    --------
    >>> from fastrbm.flows import Permutation
    >>> Permutation([2, 0, 1]).forward([10.0, 20.0, 30.0])[0]
    array([30., 10., 20.])
    """

    def __init__(self, order):
        order = validation.real_array("order", order)
        if order.ndim != 1 or order.dtype.kind not in "iu" or not len(order) or (
            np.sort(order) != np.arange(len(order))
        ).any():  # fmt: skip
            raise ValueError(f"order must hold each of 0 .. dim - 1 once, got {order.tolist()}")
        super().__init__(len(order))
        self.order = order.astype(np.intp)
        self.back = np.argsort(self.order)

    @property
    def config(self):
        """The order."""
        return {"order": self.order.tolist()}

    def __repr__(self):
        if (self.order == np.arange(self.dim)[::-1]).all():
            return f"Reverse({self.dim})"
        return f"Permutation({self.order.tolist() if self.dim <= 16 else self.dim})"

    def _forward(self, x, context):
        return x[:, self.order], np.zeros(len(x), x.dtype), None

    def _inverse(self, y, context):
        return y[:, self.back], np.zeros(len(y), y.dtype), None

    def _forward_vjp(self, tape, g, s):
        return g[:, self.back], None, []

    def _inverse_vjp(self, tape, g, s):
        return g[:, self.order], None, []


def Reverse(dim):  # noqa: N802 (it stands for a layer)
    """Return the `Permutation` that reverses a row of length dim.

    Examples
    --------
    >>> from fastrbm.flows import Reverse
    >>> Reverse(3)
    Reverse(3)
    """
    return Permutation(np.arange(validation.integer("dim", dim, 1))[::-1])


class LULinear(Bijection):
    """y = L U x + shift, the identity at the start.

    Parameters
    ----------
    dim : int

    Notes
    -----
    n dim^2 multiply-adds a pass, in BLAS; 2 dim + dim (dim - 1) parameters.

    Examples
    --------
    >>> from fastrbm.flows import LULinear
    >>> layer = LULinear(2)
    >>> layer.parameters["upper"][:] = 3.0
    >>> layer.forward([1.0, 1.0])
    (array([4., 1.]), np.float64(0.0))
    """

    def __init__(self, dim):
        super().__init__(dim)
        n = dim * (dim - 1) // 2
        self.own_parameters = {
            "lower": np.zeros(n),
            "upper": np.zeros(n),
            "log_diagonal": np.zeros(dim),
            "shift": np.zeros(dim),
        }
        self.below, self.above = np.tril_indices(dim, -1), np.triu_indices(dim, 1)

    @property
    def config(self):
        """The dimension."""
        return {"dim": self.dim}

    def __repr__(self):
        return f"LULinear({self.dim})"

    def _factors(self):
        p = self.own_parameters
        lower, upper = np.eye(self.dim, dtype=self.dtype), np.diag(np.exp(p["log_diagonal"]))
        lower[self.below], upper[self.above] = p["lower"], p["upper"]
        return lower, upper, p["log_diagonal"].sum()

    def _forward(self, x, context):
        lower, upper, log_det = self._factors()
        h = x @ upper.T
        y = h @ lower.T + self.own_parameters["shift"]
        return y, np.full(len(x), log_det, x.dtype), (lower, upper, x, h)

    def _inverse(self, y, context):
        lower, upper, log_det = self._factors()
        h = _solve(lower, (y - self.own_parameters["shift"]).T, lower=True, unit_diagonal=True)
        x = np.ascontiguousarray(_solve(upper, h).T)
        h = np.ascontiguousarray(h.T)
        return x, np.full(len(y), -log_det, y.dtype), (lower, upper, x, h)

    def _forward_vjp(self, tape, g, s):
        lower, upper, x, h = tape
        gh = g @ lower
        by_upper = gh.T @ x
        diagonal = np.diagonal(by_upper) * np.diagonal(upper) + s.sum()
        grads = [(g.T @ h)[self.below], by_upper[self.above], diagonal, g.sum(axis=0)]
        return gh @ upper, None, grads

    def _inverse_vjp(self, tape, g, s):
        lower, upper, _, _ = tape
        w = _solve(upper, g.T, trans="T")
        w = np.ascontiguousarray(
            _solve(lower, w, trans="T", lower=True, unit_diagonal=True).T
        )
        return w, None, self._forward_vjp(tape, -w, -s)[2]


def _solve(matrix, columns, **options):
    if not columns.shape[1]:  # LAPACK refuses empty right-hand sides
        return columns.copy()
    return solve_triangular(matrix, columns, check_finite=False, **options)
