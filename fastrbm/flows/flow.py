"""A flow: a bijection and a base distribution, as one density that can be sampled and trained.

    x = f(z), z ~ base:    log q(x) = log base(f^-1(x)) + log|det df^-1/dx|

The gradient of the mean of -log q over rows goes back through `inverse`, that of the reverse KL
divergence through `forward` (fit.py, energy.py). Rows are worked through in blocks, so that memory
does not grow with their number.
"""

import numpy as np

from .. import random, validation
from . import energy, fit, store
from .bases import Base, Normal
from .bijection import Bijection, context_rows, mark_outside, rows
from .module import Module, flatten
from .team import BLOCK_ROWS, on_threads

#: Rows of a block of a gradient where rows are long: a mini-batch must feed several threads. With
#: short rows they gain nothing, since Python's own work between array operations is not divided.
GRADIENT_ROWS, LONG_ROW = 256, 16
#: Draws of a base without score that tell how far it is spread.
N_SPREAD = 256


class Flow(Module):
    """A normalizing flow.

    Parameters
    ----------
    bijection : Bijection
        From latent points to data.
    base : object, optional
        With dim, log_prob, sample and, better, score (bases.py); the standard normal by default.

    Attributes
    ----------
    dim, context_dim : int
    dtype : dtype
        That of the bijection. Inputs are converted to it, and results have it.
    parameters : dict of ndarray
        What training moves, by name; may be changed in place.

    Examples
    --------
    >>> from fastrbm import flows
    >>> f = flows.Flow(flows.Chain([flows.LULinear(2), flows.Elementwise(2, flows.Exp())]))
    >>> x = f.sample(5, rng=0)
    >>> bool((x > 0).all()), f.log_prob([-1.0, 1.0])
    (True, np.float64(-inf))
    """

    def __init__(self, bijection, base=None):
        super().__init__()
        if not isinstance(bijection, Bijection):
            raise TypeError(f"bijection must be a Bijection, got {bijection!r}")
        base = Normal(bijection.dim) if base is None else base
        for name in ("dim", "log_prob", "sample"):
            if not hasattr(base, name):
                raise TypeError(f"base must have dim, log_prob and sample, got {base!r}")
        if base.dim != bijection.dim:
            raise ValueError(f"base must have dim={bijection.dim}, got {base.dim}")
        self.bijection, self.base = bijection, base
        self.dim, self.context_dim, self.dtype = (
            bijection.dim,
            bijection.context_dim,
            bijection.dtype,
        )
        self.children = {"bijection": bijection}

    @property
    def config(self):
        """bijection and base."""
        return {"bijection": self.bijection, "base": self.base}

    def __repr__(self):
        return f"Flow({self.bijection!r}, {self.base!r})"

    def _named(self, kind):
        return self.bijection._named(kind)

    def forward(self, z, *, context=None):
        """Return x = f(z) and log|det df/dz|, as `Bijection.forward`.

        Examples
        --------
        >>> from fastrbm import flows
        >>> flows.planar(dim=2, rng=0).forward([[0.5, 1.0]])
        (array([[0.5, 1. ]]), array([0.]))
        """
        return self.bijection.forward(z, context=context)

    def inverse(self, x, *, context=None):
        """Return z = f^-1(x) and log|det df^-1/dx|, as `Bijection.inverse`.

        Examples
        --------
        >>> from fastrbm import flows
        >>> flows.real_nvp(dim=2, rng=0).inverse([[0.5, 1.0]])
        (array([[0.5, 1. ]]), array([0.]))
        """
        return self.bijection.inverse(x, context=context)

    def log_prob(self, x, *, context=None):
        """Return the log-density of each row in nats, -inf outside the support.

        Parameters
        ----------
        x : array_like (n, dim) or (dim,)
        context : array_like (n, context_dim) or (context_dim,), optional

        Returns
        -------
        ndarray (n,) or scalar, of the flow's dtype

        Examples
        --------
        >>> from fastrbm import flows
        >>> flows.nsf(dim=2, rng=0).log_prob([[0.0, 0.0]]).round(6)
        array([-1.837877])
        """
        x, single = rows("x", x, self.dim, self.dtype)
        context = context_rows(context, self.context_dim, len(x), self.dtype)
        self.check_finite()
        values = self._log_prob(x, context)
        return values[0] if single else values

    def _log_prob(self, x, context):
        """As `log_prob`, on rows that are checked."""
        values = np.empty(len(x), self.dtype)

        def work(block):
            with np.errstate(over="ignore", invalid="ignore"):  # far out: density zero
                z, log_det, _ = self.bijection._inverse(x[block], _part(context, block))
                values[block] = _add(self.base_log_prob(z), log_det)

        on_threads(work, len(x), module=self)
        return values

    def _adapt(self, x, context):
        """Show the layers that take numbers from data the training set; return its `_log_prob`."""
        z, log_det = self.bijection._adapt(x, context, inverse=True)
        return _add(self.base_log_prob(z), log_det)

    def nll(self, x, *, context=None):
        """Return the mean of -log_prob over rows, a float; NaN for no rows.

        Examples
        --------
        >>> from fastrbm import flows
        >>> round(flows.nsf(dim=2, rng=0).nll([[0.0, 0.0]]), 6)
        1.837877
        """
        values = np.atleast_1d(self.log_prob(x, context=context))
        return float(-np.mean(values, dtype=np.float64)) if len(values) else float("nan")

    def sample(self, n, *, rng=None, context=None):
        """Return n independent draws, (n, dim).

        Parameters
        ----------
        n : int
        rng : None, int, SeedSequence, BitGenerator or Generator
        context : array_like (n, context_dim) or (context_dim,), optional

        Examples
        --------
        >>> from fastrbm import flows
        >>> flows.real_nvp(dim=3, rng=0).sample(4, rng=1).shape
        (4, 3)
        """
        return self._draw(n, rng, context)[0]

    def sample_and_log_prob(self, n, *, rng=None, context=None):
        """Return n draws and their log-densities, cheaper and more exact than one after the other.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrbm import flows
        >>> f = flows.iaf(dim=2, rng=0)
        >>> x, log_q = f.sample_and_log_prob(3, rng=1)
        >>> np.allclose(log_q, f.log_prob(x))
        True
        """
        return self._draw(n, rng, context)

    def _draw(self, n, rng, context):
        n = validation.integer("n", n, 0)
        context = context_rows(context, self.context_dim, n, self.dtype)
        generator = np.random.default_rng(random.key(rng))
        self.check_finite()
        x, log_q = np.empty((n, self.dim), self.dtype), np.empty(n, self.dtype)
        latent = self.base_sample(n, generator)

        def work(block):
            z = latent[block]
            y, log_det, _ = self.bijection._forward(z, _part(context, block))
            x[block] = mark_outside(y, log_det)
            log_q[block] = _add(self.base_log_prob(z), -log_det)

        on_threads(work, n, module=self)
        return x, log_q

    def nll_and_grad(self, x, *, context=None):
        """Return `nll` and its gradient by all parameters.

        Parameters
        ----------
        x : array_like (n, dim), n >= 1
        context : array_like (n, context_dim) or (context_dim,), optional

        Returns
        -------
        nll : float
        gradient : ndarray (n_parameters,)
            In the order of `ravel`.

        Raises
        ------
        ValueError
            Where a row is outside the support: there is no gradient.

        Examples
        --------
        >>> from fastrbm import flows
        >>> nll, gradient = flows.planar(dim=2, depth=1, rng=0).nll_and_grad([[0.0, 0.0]])
        >>> gradient.shape
        (5,)
        """
        x, _ = rows("x", x, self.dim, self.dtype)
        context = context_rows(context, self.context_dim, len(x), self.dtype)
        if not len(x):
            raise ValueError("x must have at least one row, got none")
        self.check_finite()
        value, gradient = self._nll_and_grad(x, context)
        if value == np.inf:
            raise ValueError(
                "x must be inside the support of the flow: there is no gradient outside"
            )
        return value, gradient

    def _nll_and_grad(self, x, context, whole=False):
        """As `nll_and_grad`, on rows that are checked; inf where a row is outside."""
        n = len(x)

        def work(block):
            z, log_det, tape = self.bijection._inverse(x[block], _part(context, block))
            total = float(_add(self.base_log_prob(z), log_det).sum(dtype=np.float64))
            g = self._score(z) * self.dtype.type(-1 / n)
            s = np.full(len(z), -1 / n, self.dtype)
            return total, flatten(self.bijection._inverse_vjp(tape, g, s)[2], self.dtype)

        totals, gradients = zip(
            *on_threads(work, n, self.gradient_rows(n, whole), self), strict=True
        )
        return -sum(totals) / n, sum(gradients[1:], start=gradients[0])

    def gradient_rows(self, n, whole=False):
        """Rows of a block of a gradient, of all n rows where they are wanted whole."""
        return n if whole else GRADIENT_ROWS if self.dim >= LONG_ROW else BLOCK_ROWS

    def base_log_prob(self, z):
        """The base's log_prob of latent points; ours goes unchecked, as points may be infinite."""
        if isinstance(self.base, Base):
            return self.base._log_prob(z)
        value = _of_base("log_prob", self.base.log_prob(z), (len(z),))
        if np.isnan(value[np.isfinite(z).all(axis=1)]).any():
            raise ValueError("base.log_prob must be a number or -inf, got NaN")
        return value

    def base_sample(self, n, generator):
        """n latent points of the base, in the flow's dtype."""
        z = _of_base("sample", self.base.sample(n, rng=generator), (n, self.dim))
        return np.ascontiguousarray(z, self.dtype)

    def _score(self, z):
        """The gradient of the base's log_prob; by fourth-order differences where it has none.

        Their step is a small part of how far draws of the base are spread.
        """
        if isinstance(self.base, Base):
            return self.base._score(z)
        if hasattr(self.base, "score"):
            return _of_base("score", self.base.score(z), z.shape)
        gradient = np.empty_like(z)
        draws = self.base_sample(N_SPREAD, np.random.default_rng(0))
        spread = np.subtract(*np.quantile(draws, [0.75, 0.25], axis=0))
        steps = np.finfo(z.dtype).eps ** 0.2 * np.where(spread > 0, spread, 1)
        log_prob = self.base_log_prob
        for i, step in enumerate(steps.astype(z.dtype)):
            h = np.zeros(self.dim, z.dtype)
            h[i] = step
            with np.errstate(invalid="ignore"):
                near = log_prob(z + h) - log_prob(z - h)
                far = log_prob(z + 2 * h) - log_prob(z - 2 * h)
                gradient[:, i] = (8 * near - far) / (12 * step)
        bad = ~np.isfinite(gradient).all(axis=1)
        if bad.any() and np.isfinite(log_prob(z[bad])).any():
            raise ValueError(
                "base must have a method score: its support ends so close to some points that "
                "differences of log_prob give no gradient"
            )
        return gradient

    def one_context(self, context, n):
        """Return a context that serves all of n draws, checked."""
        if context is not None and self.context_dim:
            shape = validation.real_array("context", context).shape
            if len(shape) != 1:
                raise ValueError(f"context must have shape ({self.context_dim},), got {shape}")
        return context_rows(context, self.context_dim, n, self.dtype)

    def cast(self, dtype):
        """Bring all arrays to `dtype` in place, and return the flow."""
        self.bijection.cast(dtype)
        self.dtype = self.bijection.dtype
        return self

    def save(self, path):
        """Write the flow to `path`: one npz with a JSON header, no pickle, replaced atomically.

        Raises
        ------
        TypeError
            If the base, or a part of the bijection, is no module of fastrbm.flows.

        Examples
        --------
        >>> import os, tempfile
        >>> from fastrbm import flows
        >>> f = flows.nice(dim=2, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     f.save(os.path.join(folder, "flow.npz"))
        ...     g = flows.load(os.path.join(folder, "flow.npz"))
        >>> bool((f.ravel() == g.ravel()).all())
        True
        """
        store.save(path, self)

    fit = fit.fit
    fit_energy = energy.fit_energy


def _of_base(name, value, shape):
    """What a base of the user's own returns, if it has the shape that it must have."""
    value = np.asarray(value)
    if value.shape != shape:
        raise ValueError(f"base.{name} must return shape {shape}, got {value.shape}")
    return value


def _part(context, block):
    return None if context is None else context[block]


def _add(log_prob, log_det):
    """Their sum, -inf where either is: never NaN."""
    with np.errstate(invalid="ignore"):
        total = log_prob + log_det
    # NaN comes of points so far out that products of infinities and zeros meet on their way.
    outside = (log_prob == -np.inf) | (log_det == -np.inf) | np.isnan(total)
    return np.where(outside, log_det.dtype.type(-np.inf), total)
