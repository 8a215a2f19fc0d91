"""Base distributions: where the latent points of a flow come from.

A base is any object with `dim`, `log_prob(z) -> (n,)` and `sample(n, rng) -> (n, dim)`. One with
`score(z) -> (n, dim)`, the gradient of log_prob, trains faster: without it the gradient comes from
finite differences of log_prob (flow.py). Those here have it. Their numbers are fixed; let a layer
of the flow move where the base should.
"""

import numpy as np
from scipy.special import logsumexp

from .. import random, validation
from .bijection import rows
from .module import Module
from .numerics import LOG_2_PI


class Base(Module):
    """What the bases here share: checks, and types. A subclass writes `_log_prob`, `_sample`."""

    def log_prob(self, z):
        """Return the log-density in nats at each row, -inf outside the support.

        Parameters
        ----------
        z : array_like (n, dim) or (dim,)

        Returns
        -------
        ndarray (n,) or scalar, of the dtype of z (float64 for integers)
        """
        z, single = self._rows(z)
        value = self._log_prob(z)
        return value[0] if single else value

    def score(self, z):
        """Return the gradient of `log_prob` at each row, of the shape of z."""
        z, single = self._rows(z)
        value = self._score(z)
        return value[0] if single else value

    def sample(self, n, *, rng=None):
        """Return n independent draws, float64 (n, dim)."""
        n = validation.integer("n", n, 0)
        if not isinstance(rng, np.random.Generator):
            rng = np.random.default_rng(random.key(rng))
        return self._sample(n, rng)

    def _rows(self, z):
        z = validation.real_array("z", z)
        return rows("z", z, self.dim, z.dtype if z.dtype.kind == "f" else np.float64)


class Normal(Base):
    """Independent normal entries: the standard normal unless mean and scale say otherwise.

    Parameters
    ----------
    dim : int
    mean, scale : array_like (dim,) or number
        Means and standard deviations.

    Examples
    --------
    >>> from fastrbm.flows import Normal
    >>> float(Normal(2).log_prob([0.0, 0.0]).round(6))
    -1.837877
    """

    def __init__(self, dim, mean=0.0, scale=1.0):
        super().__init__()
        self.dim = validation.integer("dim", dim, 1)
        self.mean, self.scale = _vector("mean", mean, dim), _vector("scale", scale, dim)
        _positive("scale", self.scale)

    @property
    def config(self):
        """dim, mean and scale."""
        return {"dim": self.dim, "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    def __repr__(self):
        standard = (self.mean == 0).all() and (self.scale == 1).all()
        return f"Normal({self.dim})" if standard else super().__repr__()

    def _standard(self, z):
        return (z - self.mean.astype(z.dtype)) / self.scale.astype(z.dtype)

    def _log_prob(self, z):
        constant = -0.5 * self.dim * LOG_2_PI - np.log(self.scale).sum()
        standard = self._standard(z)
        return -0.5 * np.einsum("ij,ij->i", standard, standard) + z.dtype.type(constant)

    def _score(self, z):
        return -self._standard(z) / self.scale.astype(z.dtype)

    def _sample(self, n, generator):
        return self.mean + self.scale * generator.standard_normal((n, self.dim))


class GaussianMixture(Base):
    """A mixture of normals with diagonal covariances.

    Parameters
    ----------
    means : array_like (k, dim)
    scales : array_like (k, dim), (k, 1) or number
        Standard deviations.
    weights : array_like (k,), optional
        Positive, summing to one; equal by default.

    Examples
    --------
    >>> from fastrbm.flows import GaussianMixture
    >>> GaussianMixture([[-2.0], [2.0]], 0.5).sample(3, rng=0).shape
    (3, 1)
    """

    def __init__(self, means, scales=1.0, weights=None):
        super().__init__()
        means = validation.real_array("means", means)
        if means.ndim != 2 or means.size == 0:
            raise ValueError(f"means must have shape (k, dim), got {means.shape}")
        self.means = validation.finite("means", means.astype(np.float64))
        k, self.dim = self.means.shape
        try:
            self.scales = np.broadcast_to(
                validation.real_array("scales", scales), self.means.shape
            ).astype(np.float64)
        except ValueError:
            raise ValueError(f"scales must fit {self.means.shape}, got {scales!r}") from None
        _positive("scales", validation.finite("scales", self.scales))
        self.weights = _vector("weights", 1 / k if weights is None else weights, k)
        _positive("weights", self.weights)
        if abs(self.weights.sum() - 1) > 1e-6:
            raise ValueError(f"weights must sum to one, got a sum of {self.weights.sum():g}")

    @property
    def config(self):
        """means, scales and weights."""
        return {
            "means": self.means.tolist(),
            "scales": self.scales.tolist(),
            "weights": self.weights.tolist(),
        }

    def __repr__(self):
        return f"GaussianMixture({len(self.means)} components, dim={self.dim})"

    def _components(self, z):
        """Standardised differences (n, k, dim) and joint log-densities (n, k)."""
        means, scales = self.means.astype(z.dtype), self.scales.astype(z.dtype)
        standard = (z[:, None] - means) / scales
        constants = (
            np.log(self.weights) - 0.5 * self.dim * LOG_2_PI - np.log(self.scales).sum(axis=1)
        )
        return standard, constants.astype(z.dtype) - 0.5 * (standard * standard).sum(axis=2)

    def _log_prob(self, z):
        return logsumexp(self._components(z)[1], axis=1)

    def _score(self, z):
        standard, joint = self._components(z)
        shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        return -(shares[:, :, None] * standard / self.scales.astype(z.dtype)).sum(axis=1)

    def _sample(self, n, generator):
        which = generator.choice(len(self.weights), size=n, p=self.weights / self.weights.sum())
        noise = generator.standard_normal((n, self.dim))
        return self.means[which] + self.scales[which] * noise


class Uniform(Base):
    """The uniform distribution on a box.

    Parameters
    ----------
    low, high : array_like (dim,)

    Examples
    --------
    >>> from fastrbm.flows import Uniform
    >>> Uniform([0.0, 0.0], [1.0, 2.0]).log_prob([[0.5, 0.5], [2.0, 0.5]])
    array([-0.69314718,        -inf])
    """

    def __init__(self, low, high):
        super().__init__()
        low = validation.real_array("low", low)
        if low.ndim != 1 or not len(low):
            raise ValueError(f"low must have shape (dim,), got {low.shape}")
        self.dim = len(low)
        self.low, self.high = _vector("low", low, self.dim), _vector("high", high, self.dim)
        if not (self.low < self.high).all():
            raise ValueError(
                f"high must be above low, got {self.low.tolist()}, {self.high.tolist()}"
            )

    @property
    def config(self):
        """low and high."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    def _log_prob(self, z):
        inside = ((z >= self.low) & (z <= self.high)).all(axis=1)
        constant = -np.log(self.high - self.low).sum()
        return np.where(inside, z.dtype.type(constant), z.dtype.type(-np.inf))

    def _score(self, z):
        return np.zeros_like(z)

    def _sample(self, n, generator):
        return generator.uniform(self.low, self.high, (n, self.dim))


def _vector(name, value, n):
    array = validation.real_array(name, value)
    if array.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or have shape ({n},), got {array.shape}")
    return validation.finite(name, np.broadcast_to(array, n).astype(np.float64))


def _positive(name, array):
    if not (array > 0).all():
        raise ValueError(f"{name} must be positive, got {array.min():g}")
