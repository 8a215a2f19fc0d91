"""Univariate maps y = f(x; raw), elementwise: what coupling, autoregressive and elementwise share.

A map knows nothing of where its parameters come from. It receives x of shape (n, d) and raw
parameters of shape (n, k, d), or (1, k, d) where all rows have the same; any real number is allowed
in raw, and raw = 0 is the identity. One pass gives y, the log-slope log f' and a tape that holds

    slope = f'(x),     curvature = d log f' / dx  (None where it is zero everywhere).

With cotangents g of y and s of log f' the input receives g f' + s curvature, whatever the map, so
that a map must only write `raw_vjp`, what the raw parameters receive. The inverse is differentiated
implicitly (bijection.py): w = (g - s curvature) / f' goes to y, and raw_vjp(tape, -w, -s) to raw.

Scales are bounded smoothly, x / (1 + |x| / c) with c = log 1000, so that no row can overflow and
the slope at zero is one: raw exponentials are unstable, clipped ones stop the gradient.
"""

import math

import numpy as np

from .. import validation
from .module import Module
from .numerics import inverse_softplus, sigmoid, softplus

#: Each affine map scales by a factor between 1/1000 and 1000.
LOG_SCALE_BOUND = math.log(1000.0)


class Tape:
    """One evaluation of a map: slope, curvature, and what its `raw_vjp` needs."""

    __slots__ = ("curvature", "memory", "slope")

    def __init__(self, slope, curvature, memory=None):
        self.slope, self.curvature, self.memory = slope, curvature, memory


class Univariate(Module):
    """A strictly increasing (or decreasing) map of numbers, applied to every entry by itself.

    Attributes
    ----------
    n_raw : int
        Raw parameters for each number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Affine
    >>> y, log_slope, tape = Affine().forward(np.ones((1, 2)), np.zeros((1, 2, 2)))
    >>> y, log_slope
    (array([[1., 1.]]), array([[0., 0.]]))
    """

    n_raw = 0

    def forward(self, x, raw):
        """Return y, log f'(x) and a `Tape`."""
        raise NotImplementedError

    def solve(self, y, raw):
        """Return the x with f(x) = y, any point inside the domain where y is outside the range."""
        raise NotImplementedError

    def inside(self, y):
        """Return which y are in the range; None says all."""
        return None

    def raw_vjp(self, tape, g, s):
        """Return what raw receives from cotangents g of y and s of log f', shape (n, k, d)."""
        return np.zeros((len(g), 0, g.shape[1]), g.dtype)

    def forward_vjp(self, tape, g, s):
        """Return what x and raw receive from cotangents of `forward`."""
        gx = g * tape.slope
        if tape.curvature is not None:
            gx += s * tape.curvature
        return gx, self.raw_vjp(tape, g, s)

    def inverse(self, y, raw):
        """Return x, the log-slope of the inverse at y, and a `Tape`."""
        x = self.solve(y, raw)
        _, log_slope, tape = self.forward(x, raw)
        inside = self.inside(y)
        log_slope = -log_slope
        if inside is not None and not inside.all():
            log_slope = np.where(inside, log_slope, np.array(-np.inf, y.dtype))
        return x, log_slope, tape

    def inverse_vjp(self, tape, g, s):
        """Return what y and raw receive from cotangents of `inverse`, implicitly."""
        w = self.pull_back(tape, g, s)
        return w, self.raw_vjp(tape, -w, -s)

    @staticmethod
    def pull_back(tape, g, s):
        """Return w = (g - s curvature) / slope: what y receives through the inverse."""
        return (g if tape.curvature is None else g - s * tape.curvature) / tape.slope


class Shift(Univariate):
    """y = x + shift: volume is kept. L. Dinh et al., "NICE", ICLR workshop 2015, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Shift
    >>> Shift().forward(np.zeros((1, 1)), np.ones((1, 1, 1)))[0]
    array([[1.]])
    """

    n_raw = 1

    def forward(self, x, raw):
        """Return y, 0 and a tape."""
        one = np.ones((1, 1), x.dtype)
        return x + raw[:, 0], np.zeros_like(x), Tape(one, None)

    def solve(self, y, raw):
        """Return y - shift."""
        return y - raw[:, 0]

    def raw_vjp(self, tape, g, s):
        """Return g: a shift moves y one to one."""
        return np.broadcast_to(g, g.shape)[:, None, :]


class Affine(Univariate):
    """y = x exp(bounded raw_1) + raw_0, exp(.) between 1/1000 and 1000.

    L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", ICLR 2017, eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Affine
    >>> raw = np.array([[[1.0], [0.0]]])  # shift 1, log-scale 0
    >>> Affine().solve(np.array([[3.0]]), raw)
    array([[2.]])
    """

    n_raw = 2

    @staticmethod
    def _log_scale(raw):
        """The bounded log-scale, and the damping 1 / (1 + |raw| / c), whose square is its slope."""
        damping = np.abs(raw[:, 1])
        damping *= 1 / LOG_SCALE_BOUND
        damping += 1
        np.reciprocal(damping, out=damping)
        return raw[:, 1] * damping, damping

    def forward(self, x, raw):
        """Return y, the log-scale and a tape."""
        log_scale, damping = self._log_scale(raw)
        scale = np.exp(log_scale)
        scaled = x * scale
        tape = Tape(scale, None, (scaled, damping))
        return scaled + raw[:, 0], np.broadcast_to(log_scale, x.shape), tape

    def solve(self, y, raw):
        """Return (y - shift) / scale."""
        return (y - raw[:, 0]) / np.exp(self._log_scale(raw)[0])

    def inverse(self, y, raw):
        """Return x, minus the log-scale and a tape; one exponential."""
        log_scale, damping = self._log_scale(raw)
        scaled = y - raw[:, 0]
        scale = np.exp(log_scale)
        tape = Tape(scale, None, (scaled, damping))
        return scaled / scale, np.broadcast_to(-log_scale, y.shape), tape

    def raw_vjp(self, tape, g, s):
        """Return g for the shift, and (g x scale + s) d log-scale / d raw for the scale."""
        scaled, damping = tape.memory
        graw = np.empty((len(g), 2, g.shape[1]), g.dtype)
        graw[:, 0] = g
        by_scale = np.multiply(g, scaled)
        by_scale += s
        by_scale *= damping
        np.multiply(by_scale, damping, out=graw[:, 1])
        return graw


class Nonlinearity(Univariate):
    """A fixed map without parameters: y = f(x) with log-slope and curvature in closed form."""

    def forward(self, x, raw=None):
        """Return y, log f'(x) and a tape."""
        y, log_slope, curvature = self._values(x)
        return y, log_slope, Tape(np.exp(log_slope), curvature)


class Tanh(Nonlinearity):
    """y = tanh x, onto (-1, 1); log f' = 2 (log 2 - x - softplus(-2 x)), which never cancels.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Tanh
    >>> Tanh().forward(np.array([[400.0]]))[1]
    array([[-798.61370564]])
    """

    def _values(self, x):
        y = np.tanh(x)
        size = np.abs(x)
        return y, 2 * (math.log(2) - size - np.log1p(np.exp(-2 * size))), -2 * y

    def inside(self, y):
        """Return where |y| < 1."""
        return np.abs(y) < 1

    def solve(self, y, raw=None):
        """Return artanh y."""
        return np.arctanh(np.where(self.inside(y), y, 0))


class Sigmoid(Nonlinearity):
    """y = 1 / (1 + e^-x), onto (0, 1). Its inverse, `Invert` of it, is the logit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Sigmoid
    >>> Sigmoid().forward(np.zeros((1, 1)))[0]
    array([[0.5]])
    """

    def _values(self, x):
        y = sigmoid(x)
        return y, -softplus(x) - softplus(-x), 1 - 2 * y

    def inside(self, y):
        """Return where 0 < y < 1."""
        return (y > 0) & (y < 1)

    def solve(self, y, raw=None):
        """Return log y - log(1 - y)."""
        y = np.where(self.inside(y), y, np.array(0.5, y.dtype))
        return np.log(y) - np.log1p(-y)


class Softplus(Nonlinearity):
    """y = log(1 + e^x), onto (0, inf), nearly the identity for large x.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Softplus
    >>> Softplus().forward(np.array([[800.0]]))[0]
    array([[800.]])
    """

    def _values(self, x):
        return softplus(x), -softplus(-x), sigmoid(-x)

    def inside(self, y):
        """Return where y > 0."""
        return y > 0

    def solve(self, y, raw=None):
        """Return y + log(1 - e^-y)."""
        return inverse_softplus(np.where(y > 0, y, np.array(1, y.dtype)))


class Exp(Nonlinearity):
    """y = e^x, onto (0, inf), at most the largest number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Exp
    >>> Exp().solve(np.ones((1, 1)))
    array([[0.]])
    """

    def _values(self, x):
        x = np.minimum(x, _top(x.dtype))
        return np.exp(x), x, np.ones_like(x)

    def inside(self, y):
        """Return where y > 0."""
        return y > 0

    def solve(self, y, raw=None):
        """Return log y."""
        return np.log(np.where(y > 0, y, np.array(1, y.dtype)))


class LeakyReLU(Nonlinearity):
    """y = x for x >= 0 and slope x below: a kink, but onto all reals.

    Parameters
    ----------
    slope : float > 0

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import LeakyReLU
    >>> LeakyReLU(0.5).forward(np.array([[2.0, -2.0]]))[0]
    array([[ 2., -1.]])
    """

    def __init__(self, slope=0.1):
        super().__init__()
        self.slope = validation.number("slope", slope, minimum=0, open_minimum=True)

    @property
    def config(self):
        """The slope below zero."""
        return {"slope": self.slope}

    def _values(self, x):
        log_slope = np.where(x < 0, np.array(math.log(self.slope), x.dtype), np.array(0, x.dtype))
        return np.where(x < 0, np.array(self.slope, x.dtype) * x, x), log_slope, None

    def solve(self, y, raw=None):
        """Return y, divided by the slope below zero."""
        return np.where(y < 0, y / np.array(self.slope, y.dtype), y)


class Arcsinh(Nonlinearity):
    """y = arcsinh x, onto all reals: identity at zero, logarithmic far out (its inverse is sinh).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Arcsinh
    >>> Arcsinh().solve(Arcsinh().forward(np.array([[2.0]]))[0]).round(12)
    array([[2.]])
    """

    def _values(self, x):
        root = np.hypot(np.array(1, x.dtype), x)
        return np.arcsinh(x), -np.log(root), -(x / root) / root

    def solve(self, y, raw=None):
        """Return sinh y, at most the largest number."""
        top = _top(y.dtype)
        return np.sinh(np.clip(y, -top, top))


def _top(dtype):
    """The largest x whose exponential is a number: beyond it there is no range to be outside of."""
    return np.array(math.log(np.finfo(dtype).max) * (1 - 1e-6), dtype)
