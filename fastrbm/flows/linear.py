"""Linear maps: permutations, and a matrix by its LU factors.

y = L U x + shift with L unit lower and U upper triangular, U_ii = exp(log_diagonal_i): log|det| is
the sum of log_diagonal, and a zero determinant cannot be reached. D. Kingma, P.
Dhariwal, "Glow", NeurIPS 2018, section 3.2 (with a permutation beside it, which stays fixed).

All products and inverses are NumPy's: SciPy brings a BLAS of its own, and the threads of two pools
that take turns wait for each other (a triangular solve of 512 x 2 took 3 ms beside products).
"""

import numpy as np

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
        self.reverses = bool((self.order == np.arange(self.dim)[::-1]).all())

    @property
    def config(self):
        """The order."""
        return {"order": self.order.tolist()}

    def __repr__(self):
        if self.reverses:
            return f"Reverse({self.dim})"
        return f"Permutation({self.order.tolist() if self.dim <= 16 else self.dim})"

    def _take(self, x, order):
        # Columns by index cost several times what columns by a stride do.
        return x[:, ::-1].copy() if self.reverses else x[:, order]

    def _forward(self, x, context):
        return self._take(x, self.order), np.zeros(len(x), x.dtype), None

    def _inverse(self, y, context):
        return self._take(y, self.back), np.zeros(len(y), y.dtype), None

    def _forward_vjp(self, tape, g, s):
        return self._take(g, self.back), None, []

    def _inverse_vjp(self, tape, g, s):
        return self._take(g, self.order), None, []


def Reverse(dim):
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
        inverse = np.linalg.inv(lower @ upper)
        x = (y - self.own_parameters["shift"]) @ inverse.T
        tape = (lower, upper, x, x @ upper.T, inverse)
        return x, np.full(len(y), -log_det, y.dtype), tape

    def _forward_vjp(self, tape, g, s):
        lower, upper, x, h = tape
        gh = g @ lower
        by_upper = gh.T @ x
        diagonal = np.diagonal(by_upper) * np.diagonal(upper) + s.sum()
        grads = [(g.T @ h)[self.below], by_upper[self.above], diagonal, g.sum(axis=0)]
        return gh @ upper, None, grads

    def _inverse_vjp(self, tape, g, s):
        w = g @ tape[-1]
        return w, None, self._forward_vjp(tape[:-1], -w, -s)[2]
