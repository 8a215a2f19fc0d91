"""Normalizing flows in NumPy: exact densities, exact gradients, no autograd framework.

A flow x = f(z) carries a base distribution to a density that can be evaluated, sampled, trained by
maximum likelihood (`Flow.fit`) or towards an energy (`Flow.fit_energy`).

Examples
--------
>>> import numpy as np
>>> from fastrbm import flows
>>> x = np.random.default_rng(0).normal(size=(1000, 2)) ** 3
>>> f = flows.real_nvp(dim=2, depth=4, width=16, rng=0)
>>> before, _ = f.nll(x), f.fit(x, n_epochs=5, rng=1)
>>> f.nll(x) < before - 1
True
"""

from . import toys
from .bases import GaussianMixture, Normal, Uniform
from .bijection import Bijection, Chain, Invert
from .conditioners import MLP, Constant
from .constructors import iaf, maf, nice, nsf, planar, radial, real_nvp
from .flow import Flow
from .linear import LULinear, Permutation, Reverse
from .made import MADE
from .maps import Affine, Arcsinh, Exp, LeakyReLU, Shift, Sigmoid, Softplus, Tanh, Univariate
from .module import Module
from .normalization import ActNorm, BatchNorm, Whitening
from .residual import Planar, Radial
from .run import FlowResult, FlowState
from .spline import RationalQuadratic
from .store import load
from .structures import Autoregressive, Coupling, Elementwise, checkerboard_mask, half_mask

__all__ = [
    "MADE",
    "MLP",
    "ActNorm",
    "Affine",
    "Arcsinh",
    "Autoregressive",
    "BatchNorm",
    "Bijection",
    "Chain",
    "Constant",
    "Coupling",
    "Elementwise",
    "Exp",
    "Flow",
    "FlowResult",
    "FlowState",
    "GaussianMixture",
    "Invert",
    "LULinear",
    "LeakyReLU",
    "Module",
    "Normal",
    "Permutation",
    "Planar",
    "Radial",
    "RationalQuadratic",
    "Reverse",
    "Shift",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "Uniform",
    "Univariate",
    "Whitening",
    "checkerboard_mask",
    "half_mask",
    "iaf",
    "load",
    "maf",
    "nice",
    "nsf",
    "planar",
    "radial",
    "real_nvp",
    "toys",
]
