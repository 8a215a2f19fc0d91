"""The families by name: plain functions that put layers together into a `Flow`.

Every flow starts as the identity, up to the permutations that its repr names, and ends on the side
of the data with `Whitening`, which `fit` sets. All take dim, and by keyword depth, width, rng,
context_dim and dtype. width is the number of units in each hidden layer of the conditioners.
"""

import numpy as np

from .. import random, validation
from .bijection import Chain, Invert
from .conditioners import ACTIVATIONS, MLP
from .flow import Flow
from .linear import LULinear, Permutation, Reverse
from .made import MADE
from .maps import Affine, Shift
from .normalization import ActNorm, BatchNorm, Whitening
from .residual import Planar, Radial
from .spline import RationalQuadratic
from .structures import Autoregressive, Coupling, Elementwise, checkerboard_mask, half_mask


def planar(dim, *, depth=8, width=32, rng=None, context_dim=0, dtype="float64"):
    """Return a planar flow: `depth` pushes across planes. Cheap forward, numeric inverse.

    Rezende & Mohamed 2015, section 4.1.

    Parameters
    ----------
    dim : int
    depth : int
        Layers.
    width : int
        Hidden units of the perceptrons of the context; of no effect where context_dim is 0.
    rng : None, int, SeedSequence, BitGenerator or Generator
        Draws the start.
    context_dim : int
        Length of a row of the context, 0 for none.
    dtype : {"float64", "float32"}

    Returns
    -------
    Flow

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.planar(dim=2, depth=3, rng=0).n_parameters
    15
    """
    return _residual(Planar, dim, depth, width, rng, context_dim, dtype)


def radial(dim, *, depth=8, width=32, rng=None, context_dim=0, dtype="float64"):
    """Return a radial flow: `depth` pushes away from points, or towards them. Closed inverse.

    Rezende & Mohamed 2015, section 4.1. Parameters as `planar`.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.radial(dim=2, depth=3, rng=0).n_parameters
    12
    """
    return _residual(Radial, dim, depth, width, rng, context_dim, dtype)


def _residual(kind, dim, depth, width, rng, context_dim, dtype):
    common = _Common(dim, depth, width, rng, context_dim, dtype)
    layers = []
    for _ in range(common.depth):
        conditioner = None
        if common.context_dim:
            conditioner = MLP(
                common.context_dim, [common.width] * 2, kind.raw_size(dim),
                activation="tanh", rng=common.rng,
            )  # fmt: skip
        layers.append(kind(dim, conditioner, rng=common.rng))
    return common.flow(layers)


def nice(
    dim, *, depth=8, width=64, rng=None, context_dim=0, dtype="float64", n_hidden=2,
    activation="relu", mask="half", shape=None,
):  # fmt: skip
    """Return NICE: additive couplings, which keep the volume, and a scale for each entry.

    L. Dinh, D. Krueger, Y. Bengio, "NICE: Non-linear Independent Components Estimation", ICLR
    workshop 2015. Parameters as `real_nvp`.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.nice(dim=4, depth=2, width=8, rng=0).forward([1.0, 2.0, 3.0, 4.0])[1]
    np.float64(0.0)
    """
    common = _Common(dim, depth, width, rng, context_dim, dtype, n_hidden, activation)
    layers = common.couplings(Shift, mask, shape)
    return common.flow([*layers, Elementwise(dim, Affine())])


def real_nvp(
    dim, *, depth=8, width=64, rng=None, context_dim=0, dtype="float64", n_hidden=2,
    activation="relu", mask="half", shape=None, normalization=None,
):  # fmt: skip
    """Return RealNVP: affine couplings, cheap in both directions.

    L. Dinh, J. Sohl-Dickstein, S. Bengio, "Density estimation using Real NVP", ICLR 2017.

    Parameters
    ----------
    dim : int
        At least 2 to be more than an affine map.
    depth : int
        Couplings; which part stays alternates.
    width : int
        Units of each hidden layer.
    rng : None, int, SeedSequence, BitGenerator or Generator
        Draws the start.
    context_dim : int
        Length of a row of the context, 0 for none.
    dtype : {"float64", "float32"}
    n_hidden : int
        Hidden layers of each conditioner.
    activation : {"relu", "tanh"}
    mask : {"half", "checkerboard"}
        Which part stays.
    shape : sequence of int, optional
        Of the array that a row holds, for the checkerboard.
    normalization : {None, "actnorm", "batchnorm"}
        A layer of it between couplings.

    Returns
    -------
    Flow

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.real_nvp(dim=2, depth=2, width=8, rng=0)
    Flow(Chain([
        Coupling('10', Affine(), widths=[8, 8]),
        Coupling('01', Affine(), widths=[8, 8]),
        Whitening(2),
    ]), Normal(2))
    """
    common = _Common(dim, depth, width, rng, context_dim, dtype, n_hidden, activation)
    return common.flow(common.between(common.couplings(Affine, mask, shape), normalization))


def maf(
    dim, *, depth=8, width=64, rng=None, context_dim=0, dtype="float64", n_hidden=2,
    activation="relu", normalization=None,
):  # fmt: skip
    """Return a masked autoregressive flow: one pass for densities, `dim` steps for draws.

    Papamakarios et al. 2017. The order of the entries is reversed between layers. Parameters as
    `real_nvp`.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.maf(dim=2, depth=2, width=8, rng=0)
    Flow(Chain([
        Invert(Autoregressive(2, Affine(), widths=[8, 8])),
        Reverse(2),
        Invert(Autoregressive(2, Affine(), widths=[8, 8])),
        Whitening(2),
    ]), Normal(2))
    """
    common = _Common(dim, depth, width, rng, context_dim, dtype, n_hidden, activation)
    layers = [Invert(layer) for layer in common.autoregressive(Affine)]
    return common.flow(common.between(common.reversing(layers), normalization))


def iaf(
    dim, *, depth=8, width=64, rng=None, context_dim=0, dtype="float64", n_hidden=2,
    activation="relu",
):  # fmt: skip
    """Return an inverse autoregressive flow: one pass for draws, `dim` steps for densities.

    Kingma et al. 2016. The order of the entries is reversed between layers. Parameters as
    `real_nvp`.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.iaf(dim=2, depth=1, width=8, rng=0)
    Flow(Chain([
        Autoregressive(2, Affine(), widths=[8, 8]),
        Whitening(2),
    ]), Normal(2))
    """
    common = _Common(dim, depth, width, rng, context_dim, dtype, n_hidden, activation)
    return common.flow(common.reversing(common.autoregressive(Affine)))


def nsf(
    dim, *, depth=6, width=64, rng=None, context_dim=0, dtype="float64", n_hidden=2,
    activation="relu", n_bins=8, bound=4.0, autoregressive=False, linear=False,
):  # fmt: skip
    """Return a neural spline flow: rational-quadratic splines, in couplings or autoregressive.

    Durkan et al. 2019. Couplings are cheap in both directions, autoregressive layers as in `maf`.

    Parameters
    ----------
    dim, depth, width, rng, context_dim, dtype, n_hidden, activation
        As `real_nvp`.
    n_bins : int
        Bins of each spline.
    bound : float
        Splines act on [-bound, bound] and are the identity outside; whitened data have deviation 1.
    autoregressive : bool
    linear : bool
        A trained `LULinear` between layers, as in the paper; it mixes what half masks never do.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.nsf(dim=2, depth=2, width=8, rng=0)
    Flow(Chain([
        Invert(Coupling('10', RationalQuadratic(n_bins=8, bound=4), widths=[8, 8])),
        Invert(Coupling('01', RationalQuadratic(n_bins=8, bound=4), widths=[8, 8])),
        Whitening(2),
    ]), Normal(2))
    """
    common = _Common(dim, depth, width, rng, context_dim, dtype, n_hidden, activation)

    def spline():
        return RationalQuadratic(n_bins, bound)

    # From data to latent space, the spline itself is cheaper than its inverse.
    if validation.flag("autoregressive", autoregressive):
        layers = common.reversing([Invert(layer) for layer in common.autoregressive(spline)])
    else:
        layers = [Invert(layer) for layer in common.couplings(spline, "half", None)]
    if validation.flag("linear", linear):
        layers = [part for layer in layers for part in (layer, LULinear(common.dim))][:-1]
    return common.flow(layers)


class _Common:
    """The arguments of all constructors, checked, and the layers that several of them make."""

    def __init__(
        self, dim, depth, width, rng, context_dim, dtype, n_hidden=2, activation="relu"
    ):  # fmt: skip
        self.dim = validation.integer("dim", dim, 1)
        self.depth = validation.integer("depth", depth, 1)
        self.width = validation.integer("width", width, 1)
        self.context_dim = validation.integer("context_dim", context_dim, 0)
        self.dtype = validation.model_dtype("dtype", dtype)
        self.widths = [self.width] * validation.integer("n_hidden", n_hidden, 0)
        self.activation = validation.choice("activation", activation, ACTIVATIONS)
        self.rng = np.random.default_rng(random.key(rng))

    def couplings(self, map, mask, shape):
        """`depth` couplings whose masks alternate, with a new map each."""
        validation.choice("mask", mask, ("half", "checkerboard"))
        if mask == "half" and shape is not None:
            raise ValueError("shape must be left out unless mask is 'checkerboard'")
        first = half_mask(self.dim) if mask == "half" else checkerboard_mask(self.dim, shape)
        if self.dim == 1:  # nothing can stay: every layer moves the entry
            first = np.array([False])
        layers = []
        for index in range(self.depth):
            kept = ~first if index % 2 and self.dim > 1 else first
            one = map()
            n_kept = int(kept.sum())
            conditioner = MLP(
                n_kept + self.context_dim, self.widths, one.n_raw * (self.dim - n_kept),
                activation=self.activation, rng=self.rng,
            )  # fmt: skip
            layers.append(Coupling(kept, one, conditioner))
        return layers

    def autoregressive(self, map):
        """`depth` autoregressive layers with a new map each."""
        layers = []
        for _ in range(self.depth):
            one = map()
            made = MADE(
                self.dim, self.widths, one.n_raw, context_dim=self.context_dim,
                activation=self.activation, rng=self.rng,
            )  # fmt: skip
            layers.append(Autoregressive(one, made))
        return layers

    def reversing(self, layers):
        """The layers with a reversal of the entries between them."""
        if self.dim == 1:
            return layers
        return [part for layer in layers for part in (layer, Reverse(self.dim))][:-1]

    def between(self, layers, normalization):
        """The layers with a normalisation after each that has parameters."""
        if normalization is None:
            return layers
        validation.choice("normalization", normalization, tuple(_NORMALIZATIONS))
        kind = _NORMALIZATIONS[normalization]
        return [
            part
            for layer in layers
            for part in ((layer,) if isinstance(layer, Permutation) else (layer, kind(self.dim)))
        ]

    def flow(self, layers):
        """The flow of these layers, with whitening on the side of the data."""
        return Flow(Chain([*layers, Whitening(self.dim)]).cast(self.dtype))


_NORMALIZATIONS = {"actnorm": ActNorm, "batchnorm": BatchNorm}
