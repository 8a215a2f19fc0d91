"""Planar and radial flows: y = x + a step along one direction, with inverses.

D. Rezende, S. Mohamed, "Variational Inference with Normalizing Flows", ICML 2015, section 4.1 and
appendix A.

Planar: y = x + v tanh(w.x + b), log|det| = log1p(w.v tanh'(w.x + b)). It is invertible if
w.v > -1, which v = u + (m(w.u) - w.u) w / |w|^2 makes true for every u, w.v being m(w.u) then. Here
m(t) = softplus(t + log(e - 1)) - 1, which is the paper's up to a shift that makes m(0) = 0, so that
u = 0 is exactly the identity. In terms of p = w.x + b the inverse is one increasing equation,

    p + m tanh(p) = w.y + b,     x = y - v tanh(p).

Radial: y = c + (1 + beta h) (x - c), h = 1 / (alpha + r), r = |x - c|, alpha = softplus(a) > 0 and
beta = softplus(a + b) - softplus(a) > -alpha, so that b = 0 is the identity,

    log|det| = (D - 1) log1p(beta h) + log1p(alpha beta h^2),

since 1 - h r = alpha h. The inverse has a closed form: with R = |y - c|, r is the positive root of
r^2 + (alpha + beta - R) r = alpha R.

Parameters come from a conditioner: one vector for all rows, or an MLP of the context.
"""

import math

import numpy as np

from .. import random
from .bijection import Bijection
from .conditioners import MLP, Constant
from .made import check_conditioner
from .numerics import norms, sigmoid, softplus
from .roots import increasing_root

#: softplus(ONE) = 1.
ONE = math.log(math.e - 1)


class Residual(Bijection):
    """What planar and radial flows share: their conditioner, and implicit differentiation.

    A subclass writes, with raw of shape (n or 1, n_raw),

        _evaluate(x, raw) -> y, log_det, memory         _vjp(memory, g, s) -> gx, graw (n, n_raw)
        _solve(y, raw) -> x                             _transposed_solve(memory, h) -> J^-T h

    Parameters
    ----------
    dim : int
    conditioner : Constant or MLP, optional
        By default `Constant`; an MLP of the context makes the parameters depend on it. One that
        gives zeros, as they do when new, is set to give the values of `start`.
    rng : None, int, SeedSequence, BitGenerator or Generator
        Draws the values of `start`.
    """

    def __init__(self, dim, conditioner=None, *, rng=None):
        check_conditioner(conditioner, Constant, MLP, type(None))
        super().__init__(dim, conditioner.n_in if isinstance(conditioner, MLP) else 0)
        n_raw = self.raw_size(dim)
        if conditioner is None:
            conditioner = Constant(n_raw)
        if conditioner.n_out != n_raw:
            raise ValueError(f"conditioner must have {n_raw} outputs, got {conditioner.n_out}")
        conditioner.start_from(self.start(dim, rng))  # at zero there would be no gradient
        self.conditioner = conditioner
        self.children = {"conditioner": conditioner}
        self.dtype = conditioner.dtype

    @property
    def config(self):
        """dim and conditioner."""
        return {"dim": self.dim, "conditioner": self.conditioner}

    def __repr__(self):
        context = f", context_dim={self.context_dim}" if self.context_dim else ""
        return f"{type(self).__name__}({self.dim}{context})"

    def _forward(self, x, context):
        raw, memory = self.conditioner._forward(context, len(x))
        y, log_det, tape = self._evaluate(x, raw)
        return y, log_det, (tape, memory)

    def _inverse(self, y, context):
        raw, memory = self.conditioner._forward(context, len(y))
        x = self._solve(y, raw)
        _, log_det, tape = self._evaluate(x, raw)
        return x, -log_det, (tape, memory)

    def _forward_vjp(self, tape, g, s):
        gx, graw = self._vjp(tape[0], g, s)
        gcontext, grads = self.conditioner._vjp(tape[1], graw)
        return gx, gcontext, grads

    def _inverse_vjp(self, tape, g, s):
        bend, _ = self._vjp(tape[0], np.zeros_like(g), s)
        w = self._transposed_solve(tape[0], g - bend)
        _, graw = self._vjp(tape[0], -w, -s)
        gcontext, grads = self.conditioner._vjp(tape[1], graw)
        return w, gcontext, grads


class Planar(Residual):
    """y = x + v tanh(w.x + b): a push along v across the plane w.x + b = 0.

    The inverse is numeric, to rounding. Parameters as `Residual`; raw is u, w, b.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Planar
    >>> layer = Planar(2, rng=0)
    >>> layer.unravel([1.0, 2.0, -1.0, 0.5, 0.1])
    >>> y, log_det = layer.forward([0.3, -0.2])
    >>> x, back = layer.inverse(y)
    >>> np.allclose(x, [0.3, -0.2], atol=1e-14), abs(log_det + back) < 1e-14
    (True, np.True_)
    """

    @staticmethod
    def raw_size(dim):
        """u, w and b."""
        return 2 * dim + 1

    @staticmethod
    def start(dim, rng=None):
        """u = 0, which is the identity; w of length about one; b = 0."""
        generator = np.random.default_rng(random.key(rng))
        w = generator.standard_normal(dim) / math.sqrt(dim)
        return np.concatenate([np.zeros(dim), w, np.zeros(1)])

    def _split(self, raw):
        d = self.dim
        u, w, b = raw[:, :d], raw[:, d : 2 * d], raw[:, 2 * d]
        t = (u * w).sum(axis=1)
        m = softplus(t + ONE) - softplus(np.array(ONE, t.dtype))  # exactly 0 at t = 0
        # Where w = 0 so is m - t: the quotient's limit does not matter, it multiplies w.
        square = np.maximum((w * w).sum(axis=1), np.finfo(raw.dtype).tiny)
        k = (m - t) / square
        return u, w, b, t, m, square, k, u + k[:, None] * w, softplus(t + ONE)

    def _evaluate(self, x, raw):
        split = self._split(raw)
        _, w, b, _, m, _, _, v, fold = split
        p = np.tanh((x * w).sum(axis=1) + b)
        slope = (1 - p) * (1 + p)
        y = x + v * p[:, None]
        # det = 1 + m slope, and where m is close to -1 its digits are those of fold = 1 + m.
        det = p * p + fold * slope
        return y, _log(m * slope, det), (x, split, p, slope, det)

    def _solve(self, y, raw):
        _, w, b, _, m, _, _, v, fold = self._split(raw)
        # Where products overflow any finite number will do: the density is zero there.
        target = np.nan_to_num((y * w).sum(axis=1) + b)
        m = np.broadcast_to(m, target.shape)

        def function(p):
            tanh = np.tanh(p)
            return p + m * tanh - target, tanh * tanh + fold * (1 - tanh) * (1 + tanh)

        size = np.abs(m)
        p = increasing_root(function, target - size, target + size)
        return y - v * np.tanh(p)[:, None]

    def _vjp(self, memory, g, s):
        x, (u, w, _, t, m, square, k, v, _), p, slope, det = memory
        inner = 1 / det
        gp = (g * v).sum(axis=1) * slope - 2 * s * m * p * slope * inner
        gx = g + gp[:, None] * w
        gv = g * p[:, None]
        gk = (gv * w).sum(axis=1)
        gm = s * slope * inner + gk / square
        gt = gm * sigmoid(t + ONE) - gk / square
        gu = gv + gt[:, None] * w
        gw = gp[:, None] * x + k[:, None] * gv + gt[:, None] * u
        gw -= (2 * gk * k / square)[:, None] * w
        return gx, np.concatenate([gu, gw, gp[:, None]], axis=1)

    def _transposed_solve(self, memory, h):
        _, (_, w, *_, v, _), _, slope, det = memory
        return h - (slope * (h * v).sum(axis=1) / det)[:, None] * w


class Radial(Residual):
    """y = c + (1 + beta / (alpha + r)) (x - c): a push away from a point, or towards it.

    The inverse is a closed form. Parameters as `Residual`; raw is c, a, b.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows import Radial
    >>> layer = Radial(2, rng=0)
    >>> layer.unravel([1.0, 2.0, -1.0, 0.5])
    >>> x, _ = layer.inverse(layer.forward([0.3, -0.2])[0])
    >>> np.allclose(x, [0.3, -0.2], atol=1e-14)
    True
    """

    @staticmethod
    def raw_size(dim):
        """c, a and b."""
        return dim + 2

    @staticmethod
    def start(dim, rng=None):
        """b = 0, which is the identity; alpha = 1; c drawn from the standard normal."""
        centre = np.random.default_rng(random.key(rng)).standard_normal(dim)
        return np.concatenate([centre, [ONE, 0.0]])

    def _split(self, raw):
        d = self.dim
        c, a, b = raw[:, :d], raw[:, d], raw[:, d + 1]
        alpha, gamma = softplus(a), softplus(a + b)
        return c, a, b, alpha, gamma, gamma - alpha

    def _evaluate(self, x, raw):
        split = self._split(raw)
        c, _, _, alpha, gamma, beta = split
        d = x - c
        r = norms(d)
        h = 1 / (alpha + r)
        # 1 + beta h and 1 + alpha beta h^2 in terms that only add, gamma being alpha + beta.
        across = (gamma + r) * h
        part = r * h
        along = part * part + 2 * alpha * h * part + alpha * gamma * h * h
        log_det = _log(alpha * beta * h * h, along)
        if self.dim > 1:
            log_det = log_det + (self.dim - 1) * _log(beta * h, across)
        return c + across[:, None] * d, log_det, (split, d, r, h, across, along)

    def _solve(self, y, raw):
        c, _, _, alpha, gamma, _ = self._split(raw)
        d = y - c
        outer = norms(d)
        half = (gamma - outer) / 2
        root = np.hypot(half, np.sqrt(alpha * outer))
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.where(half > 0, alpha * outer / (root + half), root - half)
            ratio = np.where(outer > 0, r / outer, np.array(1, y.dtype))
        return c + ratio[:, None] * d

    def _vjp(self, memory, g, s):
        (_, a, b, alpha, _, beta), d, r, h, across, along = memory
        n = self.dim - 1
        outer, inner = 1 / across, 1 / along
        gk = (g * d).sum(axis=1)
        gbeta = gk * h + s * (n * h * outer + alpha * h * h * inner)
        gh = gk * beta + s * (n * beta * outer + 2 * alpha * beta * h * inner)
        galpha = s * beta * h * h * inner - h * h * gh - gbeta
        gr = np.where(r > 0, -h * h * gh / np.where(r > 0, r, 1), 0)  # at the centre: a subgradient
        gx = across[:, None] * g + gr[:, None] * d
        by_sum = gbeta * sigmoid(a + b)
        ga = galpha * sigmoid(a) + by_sum
        return gx, np.concatenate([g - gx, ga[:, None], by_sum[:, None]], axis=1)

    def _transposed_solve(self, memory, arrived):
        (*_, beta), d, r, h, across, along = memory
        bend = np.where(r > 0, -beta * h * h / np.where(r > 0, r, 1), 0)
        share = bend * (d * arrived).sum(axis=1) / along
        return (arrived - share[:, None] * d) / across[:, None]


def _log(excess, whole):
    """The logarithm of 1 + excess = whole, by the one that has kept its digits."""
    safe = np.maximum(excess, np.array(-0.5, excess.dtype))
    return np.where(excess > -0.5, np.log1p(safe), np.log(whole))
