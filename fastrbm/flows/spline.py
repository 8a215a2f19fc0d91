"""Monotone rational-quadratic splines: the univariate map of neural spline flows.

C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, "Neural Spline Flows", NeurIPS 2019, section 3.1
and appendix A. [-B, B] is cut into K bins in x and in y; in a bin of width w, height h, mean slope
a = h / w, with slopes p and q at its ends, u = (x - x_k) / w and t = u (1 - u),

    y  = y_k + h N / M,      N = a u^2 + p t,      M = a + (p + q - 2 a) t
    f' = a^2 G / M^2,        G = q u^2 + 2 a t + p (1 - u)^2

Every term of M and G is >= 0 and M >= min(a, ...) > 0, so f' > 0. Outside [-B, B] the map is the
identity, and since the slopes at -B and B are exactly one, f is continuously differentiable.

Raw parameters: K widths, K heights (softmax, at least MINIMUM of the whole each) and K - 1 inner
slopes (softplus, shifted so that raw = 0 is slope one). At raw = 0 all bins are squares with slopes
one, which is the identity. The end knots are pinned to -B and B after the sums.

The inverse solves the quadratic in u by the root that does not cancel, 2 c / (-b - sqrt(disc)).
"""

import math

import numpy as np

from .. import validation
from .maps import Tape, Univariate
from .numerics import sigmoid, softplus

#: Least width and height of a bin, as a part of 2 B, and least slope.
MINIMUM = 1e-3


class RationalQuadratic(Univariate):
    """A monotone spline on [-bound, bound], the identity outside.

    Parameters
    ----------
    n_bins : int
    bound : float
        Half the width of the interval.
    softness : float > 0
        Raw widths and heights are divided by it. The slope inside a flat bin falls with the square
        of its height over its width, so that raw numbers of order one would give slopes of 1e-5,
        and an inverse with eleven digits instead of sixteen.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import RationalQuadratic
    >>> spline = RationalQuadratic(n_bins=4, bound=2.0)
    >>> x = np.array([[-3.0, 0.5, 2.0]])
    >>> y, log_slope, _ = spline.forward(x, np.zeros((1, spline.n_raw, 3)))
    >>> np.allclose(y, x), np.allclose(log_slope, 0)
    (True, True)
    """

    def __init__(self, n_bins=8, bound=4.0, softness=2.0):
        super().__init__()
        self.n_bins = validation.integer("n_bins", n_bins, 2)
        if self.n_bins * MINIMUM >= 1:
            raise ValueError(f"n_bins must be below {1 / MINIMUM:g}, got {n_bins}")
        self.bound = validation.number("bound", bound, minimum=0, open_minimum=True)
        self.softness = validation.number("softness", softness, minimum=0, open_minimum=True)
        self.n_raw = 3 * self.n_bins - 1

    @property
    def config(self):
        """The number of bins, the bound and the softness."""
        return {"n_bins": self.n_bins, "bound": self.bound, "softness": self.softness}

    def __repr__(self):
        return f"RationalQuadratic(n_bins={self.n_bins}, bound={self.bound:g})"

    def _spans(self, raw):
        """The softmax of raw widths or heights (n, K, d), and the knots (n, K + 1, d)."""
        part = raw - raw.max(axis=1, keepdims=True)
        part *= 1 / self.softness
        np.exp(part, out=part)
        part /= part.sum(axis=1, keepdims=True)
        spans = part * (2 * self.bound * (1 - MINIMUM * self.n_bins))
        spans += 2 * self.bound * MINIMUM
        knots = np.empty((len(raw), self.n_bins + 1, raw.shape[2]), raw.dtype)
        knots[:, 0], knots[:, -1] = -self.bound, self.bound
        np.cumsum(spans[:, :-1], axis=1, out=knots[:, 1:-1])
        knots[:, 1:-1] -= self.bound
        return part, knots

    def _bins(self, x, raw, along_y):
        """The bin of each x (or y): x inside it, and its numbers by name."""
        k = self.n_bins
        soft_width, x_knots = self._spans(raw[:, :k])
        soft_height, y_knots = self._spans(raw[:, k : 2 * k])
        slopes = np.ones((len(raw), k + 1, raw.shape[2]), raw.dtype)
        slopes[:, 1:-1] = softplus(raw[:, 2 * k :] + math.log(math.expm1(1 - MINIMUM))) + MINIMUM
        inside = np.clip(x, -self.bound, self.bound)
        knots = y_knots if along_y else x_knots
        index = (inside[:, None] >= knots[:, 1:-1]).sum(axis=1)
        first, columns = np.arange(len(x))[:, None], np.arange(x.shape[1])
        if len(raw) == 1:
            first = np.zeros_like(first)
        here, after = (first, index, columns), (first, index + 1, columns)
        x_low, y_low = x_knots[here], y_knots[here]
        # From the knots, not the spans: the last knot is pinned.
        w, h = x_knots[after] - x_low, y_knots[after] - y_low
        cell = (index, x_low, w, y_low, h, slopes[here], slopes[after])
        return inside, cell, (soft_width, soft_height, raw[:, 2 * k :])

    def forward(self, x, raw):
        """Return y, log f'(x) and a tape."""
        inside, cell, shape = self._bins(x, raw, along_y=False)
        _, x_low, w, _, _, _, _ = cell
        u = (inside - x_low) / w
        return self._evaluate(x, u, cell, shape)

    def _evaluate(self, x, u, cell, shape):
        _, _, w, y_low, h, p, q = cell
        a, v = h / w, 1 - u
        t = u * v
        numerator = a * u * u + p * t
        m = a + (p + q - 2 * a) * t
        gamma = q * u * u + 2 * a * t + p * v * v
        tail = np.abs(x) >= self.bound
        y = np.where(tail, x, y_low + h * (numerator / m))
        slope = np.where(tail, np.array(1, x.dtype), a * a * gamma / (m * m))
        m_u = (p + q - 2 * a) * (v - u)
        gamma_u = 2 * (q * u + a * (v - u) - p * v)
        l_u = gamma_u / gamma - 2 * m_u / m
        curvature = np.where(tail, np.array(0, x.dtype), l_u / w)
        memory = (tail, u, v, t, a, numerator, m, gamma, m_u, cell, shape)
        return y, np.log(slope), Tape(slope, curvature, memory)

    def inverse(self, y, raw):
        """Return x, the log-slope of the inverse and a tape."""
        inside, cell, shape = self._bins(y, raw, along_y=True)
        _, x_low, w, y_low, h, p, q = cell
        a, rise = h / w, inside - y_low
        bend = rise * (p + q - 2 * a)
        quadratic, linear, constant = h * (a - p) + bend, h * p - bend, -a * rise
        # Each form is free of cancellation on its side; where linear < 0, quadratic > h a > 0.
        root = np.sqrt(np.maximum(linear * linear - 4 * quadratic * constant, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.where(
                linear >= 0, -2 * constant / (linear + root), (root - linear) / (2 * quadratic)
            )
        u = np.clip(u, 0, 1)
        x = x_low + u * w
        x = np.where(np.abs(y) >= self.bound, y, x)
        _, log_slope, tape = self._evaluate(x, u, cell, shape)
        return x, -log_slope, tape

    def solve(self, y, raw):
        """Return x with f(x) = y."""
        return self.inverse(y, raw)[0]

    def raw_vjp(self, tape, g, s):
        """Return what widths, heights and slopes receive, through the bin of each x."""
        tail, u, v, t, a, numerator, m, gamma, m_u, cell, shape = tape.memory
        index, _, w, _, h, p, q = cell
        zero = np.array(0, g.dtype)
        g_y, g_l = np.where(tail, zero, g), np.where(tail, zero, s)
        # Partial derivatives of y = y_low + h N / M and l = 2 log a + log G - 2 log M by
        # u, a, h, p and q, each with the others fixed.
        share = numerator / m
        n_u = 2 * a * u + p * (v - u)
        over_m, over_gamma = g_y * h / m, g_l / gamma
        m_a = 1 - 2 * t
        by_m = -(over_m * share + 2 * g_l / m)
        by_u = over_m * n_u + by_m * m_u + 2 * over_gamma * (q * u + a * (v - u) - p * v)
        by_a = over_m * u * u + by_m * m_a + 2 * g_l / a + 2 * t * over_gamma
        by_p = (over_m + by_m) * t + over_gamma * v * v
        by_q = by_m * t + over_gamma * u * u
        # u = (x - x_low) / w and a = h / w.
        by_x_low = -by_u / w
        by_w = -(by_u * u + by_a * a) / w
        by_h = g_y * share + by_a / w
        return self._spread(index, (by_x_low, by_w, g_y, by_h, by_p, by_q), shape)

    def _spread(self, index, parts, shape):
        """From the bin's own numbers to all raw parameters, knots being sums of spans.

        That the last knot is pinned changes nothing: the softmax keeps the sum of the spans.
        """
        by_x_low, by_w, by_y_low, by_h, by_p, by_q = (part[:, None] for part in parts)
        soft_width, soft_height, raw_slopes = shape
        k = self.n_bins
        n, d = index.shape
        bins = np.arange(k)[:, None]
        at, below = index[:, None] == bins, bins < index[:, None]
        graw = np.empty((n, self.n_raw, d), by_w.dtype)
        for soft, low, span, out in (
            (soft_width, by_x_low, by_w, graw[:, :k]),
            (soft_height, by_y_low, by_h, graw[:, k : 2 * k]),
        ):
            by_span = below * low
            by_span += at * span
            by_span *= 2 * self.bound * (1 - MINIMUM * k) / self.softness
            # Softmax: d part_i / d raw_j = part_i (delta_ij - part_j).
            np.multiply(soft, by_span, out=out)
            out -= soft * out.sum(axis=1, keepdims=True)
        inner = slice(1, k)
        by_slopes = at[:, inner] * by_p + at[:, : k - 1] * by_q
        by_slopes *= sigmoid(raw_slopes + math.log(math.expm1(1 - MINIMUM)))
        graw[:, 2 * k :] = by_slopes
        return graw
