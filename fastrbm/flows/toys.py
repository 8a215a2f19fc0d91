"""Targets in two dimensions whose answers are known: densities to learn from, energies to fit.

Each density comes with its entropy in nats: the mean negative log-likelihood of a flow can be no
lower. Shapes and scales are those of R. T. Q. Chen, J. Behrmann, D. Duvenaud and J.-H. Jacobsen,
"Residual flows for invertible generative modeling" (NeurIPS 2019). Where their generators put
points at fixed angles of a curve, the angle here is uniform, so that the rows are independent draws
of one density. With the curves c_k, points or arcs or circles, and weights pi_k it is

    p(x) = sum_k pi_k integral_0^1 N(x; c_k(t), sigma^2 I) dt

Each energy comes with its log Z, so that KL(q || p) = E_q[log q - log p~] + log Z is absolute.
D. J. Rezende and S. Mohamed, "Variational inference with normalizing flows" (ICML 2015), table 1,
with w1 = sin(pi z1 / 2), w2 = 3 exp(-((z1 - 1) / .6)^2 / 2), w3 = 3 sigmoid((z1 - 1) / .3):

    U1 = ((|z| - 2) / .4)^2 / 2 - log(e^(-((z1 - 2) / .6)^2 / 2) + e^(-((z1 + 2) / .6)^2 / 2))
    U2 = ((z2 - w1) / .4)^2 / 2
    U3 = -log(e^(-((z2 - w1) / .35)^2 / 2) + e^(-((z2 - w1 + w2) / .35)^2 / 2))
    U4 = -log(e^(-((z2 - w1) / .4)^2 / 2) + e^(-((z2 - w1 + w3) / .35)^2 / 2))

The last three never fall off along z1. As in the code of N. De Cao, I. Titov and W. Aziz, "Block
neural autoregressive flow" (UAI 2019), sum_i max(|z_i| - 6, 0)^2 is added, which makes them proper.
"""

import math

import numpy as np
from scipy.special import expit, i0e, roots_legendre

from .. import random, validation

__all__ = [
    "DENSITIES",
    "ENERGIES",
    "Checkerboard",
    "Circles",
    "Density",
    "EightGaussians",
    "Energy",
    "Moons",
    "checkerboard",
    "circles",
    "eight_gaussians",
    "moons",
    "u1",
    "u2",
    "u3",
    "u4",
]

# Distances from rows to centres that are held at once: 4 MB, whatever the number of rows.
_BLOCK = 2**19


def _points(x):
    """Return x as finite float64 rows (n, 2), and whether it was one row (2,)."""
    x, single = validation.rows("x", x, 2)
    return validation.finite("x", x).astype(np.float64, copy=False), single


def _circle(angles, radius):
    """Return the points of a circle about the origin, of shape (n, 2)."""
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=-1)


def _log_mixture(x, centres, weights, sigma):
    """Return log sum_k weights_k N(x; centres_k, sigma^2 I) for rows x, block by block."""
    result = np.empty(len(x))
    step = max(1, _BLOCK // len(centres))
    for start in range(0, len(x), step):
        part = x[start : start + step, :, None] - centres.T
        exponents = np.square(part, out=part).sum(axis=1)
        exponents *= -0.5 / sigma**2
        # At least a finite number, so that rows that are too far for float64 give -inf, not nan.
        top = np.maximum(exponents.max(axis=1), np.finfo(np.float64).min)
        exponents -= top[:, None]
        sums = np.exp(exponents, out=exponents) @ weights
        result[start : start + step] = top + np.log(sums)
    return result - math.log(2 * math.pi * sigma**2)


class Density:
    """A density on the plane that can be evaluated and drawn from; use its instances.

    A subclass sets the attributes below, and says in `_log_prob` and `_sample` what it is.

    Attributes
    ----------
    name : str
        The key in `DENSITIES`.
    dim : int
        2.
    entropy : float
        In nats; every digit given is right.
    extent : float
        All but 1e-5 of the mass lies in the square [-extent, extent]^2.

    Examples
    --------
    >>> from fastrbm.flows import toys
    >>> toys.DENSITIES["moons"]
    <density moons: dim 2, entropy 2.393879>
    """

    name = ""
    dim = 2
    entropy = math.nan
    extent = math.nan

    def __repr__(self):
        return f"<density {self.name}: dim {self.dim}, entropy {self.entropy:.6f}>"

    def log_prob(self, x):
        """Return the log density of points.

        Parameters
        ----------
        x : array_like (n, 2) or (2,)
            Finite; n may be 0.

        Returns
        -------
        ndarray (n,) of float64, or a scalar for one point (2,)
            -inf outside the support, and where the logarithm is below the range of float64.

        Raises
        ------
        TypeError, ValueError
            For another shape, and values that are not finite real numbers.

        Examples
        --------
        >>> from fastrbm.flows import toys
        >>> toys.circles.log_prob([[3.0, 0.0], [0.0, -1.5], [0.0, 0.0]]).round(4)
        array([ -3.1207,  -2.4251, -19.208 ])
        """
        x, single = _points(x)
        with np.errstate(over="ignore", divide="ignore"):
            result = self._log_prob(x)
        return result[0] if single else result

    def sample(self, n, *, rng=None):
        """Draw independent points.

        Parameters
        ----------
        n : int
            At least 0.
        rng : None, int, SeedSequence, BitGenerator or Generator
            None draws fresh entropy, an int repeats, a Generator advances (SPEC 7).

        Returns
        -------
        ndarray (n, 2) of float64

        Raises
        ------
        TypeError, ValueError
            If `n` is no integer >= 0, or `rng` none of the above.

        Examples
        --------
        >>> from fastrbm.flows import toys
        >>> x = toys.eight_gaussians.sample(1000, rng=0)
        >>> x.shape, bool((x == toys.eight_gaussians.sample(1000, rng=0)).all())
        ((1000, 2), True)
        >>> round(float(-toys.eight_gaussians.log_prob(x).mean()), 1)  # near the entropy
        2.8
        """
        n = validation.integer("n", n, 0)
        return self._sample(n, np.random.default_rng(random.key(rng)))

    def _log_prob(self, x):
        raise NotImplementedError

    def _sample(self, n, generator):
        raise NotImplementedError


class _Blurred(Density):
    """A skeleton of points or curves under isotropic Gaussian noise of standard deviation sigma."""

    sigma = math.nan

    def _sample(self, n, generator):
        return self._skeleton(n, generator) + self.sigma * generator.standard_normal((n, 2))

    def _skeleton(self, n, generator):
        raise NotImplementedError


class EightGaussians(_Blurred):
    """Eight equal Gaussians on a circle: radius 4 / 1.414, sigma = 0.5 / 1.414.

    Examples
    --------
    >>> from fastrbm.flows import toys
    >>> float(toys.EightGaussians().log_prob([4 / 1.414, 0.0]).round(6))
    -1.838179
    """

    name = "eight_gaussians"
    entropy = 2.831880406
    extent = 5.0
    sigma = 0.5 / 1.414
    centres = _circle(np.arange(8) * (math.pi / 4), 4 / 1.414)

    def _log_prob(self, x):
        return _log_mixture(x, self.centres, np.full(8, 1 / 8), self.sigma)

    def _skeleton(self, n, generator):
        return self.centres[generator.integers(8, size=n)]


class Moons(_Blurred):
    """Two interleaved half circles of radius 2, sigma = 0.2.

    scikit-learn's ``make_moons(noise=0.1)``, times 2 and moved by (-1, -0.2), with the angles
    uniform in [0, pi]. The integral over the angle is a Gauss-Legendre sum of 200 nodes a moon:
    log p is within 1e-10 of the exact one for |x| <= 20.

    Examples
    --------
    >>> from fastrbm.flows import toys
    >>> toys.Moons().log_prob([[-1.0, 1.8], [1.0, -1.2]]).round(6)  # the tops of the two moons
    array([-1.839268, -1.839268])
    """

    name = "moons"
    entropy = 2.393879196
    extent = 4.0
    sigma = 0.2
    # The second moon is the first one turned by half a circle.
    shift = np.array([-1.0, -0.2])
    shift_turned = np.array([1.0, 0.8])

    def __init__(self):
        nodes, weights = roots_legendre(200)  # on [-1, 1], weights of sum 2
        arc = _circle(0.5 * math.pi * (nodes + 1), 2.0)
        self._nodes = np.concatenate([self.shift + arc, self.shift_turned - arc])
        self._weights = np.concatenate([weights, weights]) / 4

    def _log_prob(self, x):
        return _log_mixture(x, self._nodes, self._weights, self.sigma)

    def _skeleton(self, n, generator):
        turned = generator.integers(2, size=(n, 1), dtype=np.int8).astype(bool)
        arc = _circle(generator.uniform(0, math.pi, n), 2.0)
        return np.where(turned, self.shift_turned - arc, self.shift + arc)


class Circles(_Blurred):
    """Two circles of radii 3 and 1.5 and equal weight, sigma = 0.24.

    scikit-learn's ``make_circles(factor=0.5, noise=0.08)``, times 3, with uniform angles. A circle
    of radius R under noise has a closed form, with r = |x| and the Bessel function I0:

        p(x) = exp(-(r^2 + R^2) / (2 sigma^2)) I0(r R / sigma^2) / (2 pi sigma^2)

    Examples
    --------
    >>> from fastrbm.flows import toys
    >>> import math
    >>> p = math.exp(toys.Circles().log_prob([3.0, 0.0]))
    >>> round(p / (0.5 / (2 * math.pi * 3) / math.sqrt(2 * math.pi * 0.24**2)), 3)  # a thin ring
    1.001
    """

    name = "circles"
    entropy = 3.268135712
    extent = 4.5
    sigma = 0.24
    radii = np.array([3.0, 1.5])

    def _log_prob(self, x):
        r = np.hypot(x[:, 0], x[:, 1])[:, None]
        # i0e(y) = exp(-y) I0(y) turns the exponent into that of a Gaussian in r.
        bessel = i0e(r * (self.radii / self.sigma**2))
        terms = np.log(bessel) - 0.5 * ((r - self.radii) / self.sigma) ** 2
        return np.logaddexp(terms[:, 0], terms[:, 1]) - math.log(4 * math.pi * self.sigma**2)

    def _skeleton(self, n, generator):
        radii = self.radii[generator.integers(2, size=n)]
        return _circle(generator.uniform(0, 2 * math.pi, n), radii)


class Checkerboard(Density):
    """Uniform on every other square of side 2 in [-4, 4)^2, an area of 32.

    A point lies inside if floor(x1 / 2) + floor(x2 / 2) is even.

    Examples
    --------
    >>> from fastrbm.flows import toys
    >>> toys.Checkerboard().log_prob([[1.0, 1.0], [1.0, 3.0]]).round(6)
    array([-3.465736,      -inf])
    """

    name = "checkerboard"
    entropy = math.log(32)
    extent = 4.0

    def _log_prob(self, x):
        cells = np.floor(x / 2)
        inside = ((cells >= -2) & (cells < 2)).all(axis=1) & (cells.sum(axis=1) % 2 == 0)
        return np.where(inside, -self.entropy, -np.inf)

    def _sample(self, n, generator):
        column, row = generator.integers(-2, 2, size=n), generator.integers(2, size=n)
        # The two rows of squares that an even column has are -2 and 0; an odd one has -1 and 1.
        cells = np.stack([column, 2 * row - 2 + column % 2], axis=-1)
        return 2 * (cells + generator.random((n, 2)))


def _log_sum(a, b):
    """Return log(e^a + e^b), and its derivatives with respect to a and b."""
    return np.logaddexp(a, b), expit(a - b), expit(b - a)


def _gaussian(x, sigma):
    """Return -(x / sigma)^2 / 2 and its derivative."""
    return -0.5 * (x / sigma) ** 2, -x / sigma**2


def _wave(z1):
    """Return w1 = sin(pi z1 / 2) and its derivative."""
    return np.sin(0.5 * math.pi * z1), 0.5 * math.pi * np.cos(0.5 * math.pi * z1)


def _bump(z1):
    """Return w2 and its derivative."""
    exponent, slope = _gaussian(z1 - 1, 0.6)
    height = 3 * np.exp(exponent)
    return height, height * slope


def _step(z1):
    """Return w3 and its derivative."""
    t = (z1 - 1) / 0.3
    return 3 * expit(t), 10 * expit(t) * expit(-t)


def _two_ridges(z1, z2, sigma, valley):
    """Return log(e^(-((z2 - w1) / sigma)^2 / 2) + e^(-((z2 - w1 + w) / .35)^2 / 2)) and slopes.

    The slopes are those in z1 and in z2; `valley` gives w and its derivative at z1.
    """
    wave, wave_slope = _wave(z1)
    depth, depth_slope = valley(z1)
    upper, upper_slope = _gaussian(z2 - wave, sigma)
    lower, lower_slope = _gaussian(z2 - wave + depth, 0.35)
    value, upper_share, lower_share = _log_sum(upper, lower)
    upper_slope = upper_share * upper_slope
    lower_slope = lower_share * lower_slope
    d1 = lower_slope * (depth_slope - wave_slope) - upper_slope * wave_slope
    return value, d1, upper_slope + lower_slope


# Each function below returns -U(z1, z2) and its derivatives with respect to z1 and z2.


def _minus_u1(z1, z2):
    r = np.hypot(z1, z2)
    ring, slope = _gaussian(r - 2, 0.4)
    slope = slope / np.where(r == 0, 1, r)  # the cone's tip has no gradient: 0 is one of its slopes
    right, right_slope = _gaussian(z1 - 2, 0.6)
    left, left_slope = _gaussian(z1 + 2, 0.6)
    value, right_share, left_share = _log_sum(right, left)
    d1 = slope * z1 + right_share * right_slope + left_share * left_slope
    return ring + value, d1, slope * z2


def _minus_u2(z1, z2):
    wave, wave_slope = _wave(z1)
    value, slope = _gaussian(z2 - wave, 0.4)
    return value, -slope * wave_slope, slope


def _minus_u3(z1, z2):
    return _two_ridges(z1, z2, 0.35, _bump)


def _minus_u4(z1, z2):
    return _two_ridges(z1, z2, 0.4, _step)


class Energy:
    """An unnormalised log density on the plane with its gradient; use `u1`, `u2`, `u3` and `u4`.

    The formulas stand at the head of this module. Calling the object gives
    -U(x) - sum_i max(|x_i| - 6, 0)^2, as `Flow.fit_energy` takes it.

    Parameters
    ----------
    name : str
        The key in `ENERGIES`.
    minus_u : callable
        (z1, z2) -> (-U, its derivative with respect to z1, that to z2), arrays (n,).
    log_z : float
        log of the integral over the plane, the penalty included; every digit given is right.
    extent : float
        All but 1e-5 of the mass lies in the square [-extent, extent]^2.

    Attributes
    ----------
    dim : int
        2.
    name, log_z, extent
        As given.

    Examples
    --------
    >>> from fastrbm.flows import toys
    >>> toys.ENERGIES["u2"]
    <energy u2: dim 2, log Z 2.625318>
    """

    dim = 2

    def __init__(self, name, minus_u, *, log_z, extent):
        self.name = name
        self.log_z = log_z
        self.extent = extent
        self._minus_u = minus_u

    def __repr__(self):
        return f"<energy {self.name}: dim {self.dim}, log Z {self.log_z:.6f}>"

    def __call__(self, x):
        """Return the log density, not normalised, and its gradient.

        Parameters
        ----------
        x : array_like (n, 2) or (2,)
            Finite; n may be 0. Squares must not overflow: |x| < 1e150.

        Returns
        -------
        values : ndarray (n,) of float64, or a scalar for one point (2,)
        gradients : ndarray (n, 2) of float64, or (2,)
            Zero for `u1` at the origin, where it has a kink.

        Raises
        ------
        TypeError, ValueError
            For another shape, and values that are not finite real numbers.

        Examples
        --------
        >>> from fastrbm.flows import toys
        >>> values, gradients = toys.u2([[0.0, 0.4], [1.0, 1.4]])
        >>> values.round(6), gradients[1].round(6)
        (array([-0.5, -0.5]), array([ 0. , -2.5]))
        """
        x, single = _points(x)
        beyond = np.maximum(np.abs(x) - 6, 0)
        values, d1, d2 = self._minus_u(x[:, 0], x[:, 1])
        values = values - np.square(beyond).sum(axis=1)
        gradients = np.stack([d1, d2], axis=-1) - 2 * beyond * np.sign(x)
        return (values[0], gradients[0]) if single else (values, gradients)


#: Eight Gaussians on a circle.
eight_gaussians = EightGaussians()
#: Two interleaved half circles.
moons = Moons()
#: Two concentric circles.
circles = Circles()
#: Squares of constant density.
checkerboard = Checkerboard()

#: Every density by its name.
DENSITIES = {density.name: density for density in (eight_gaussians, moons, circles, checkerboard)}

# The square of u1 holds its ring; those of the others end where the penalty has reached 9.
#: A ring, heavy at two sides.
u1 = Energy("u1", _minus_u1, log_z=1.877501626, extent=4.0)
#: A sine wave. log Z = log(.4 sqrt(2 pi) (12 + sqrt(pi))).
u2 = Energy("u2", _minus_u2, log_z=2.625318301, extent=9.0)
#: A sine wave that splits into two around z1 = 1.
u3 = Energy("u3", _minus_u3, log_z=3.184934089, extent=9.0)
#: A sine wave that becomes two from z1 = 1 on.
u4 = Energy("u4", _minus_u4, log_z=3.253926960, extent=9.0)

#: Every energy by its name.
ENERGIES = {energy.name: energy for energy in (u1, u2, u3, u4)}
