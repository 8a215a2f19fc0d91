"""Small fixed models for the statistical tests, one for each normalisable pair of unit types.

Couplings are strong and partly frustrated, so that chains mix slowly: the laws after 1, 2, 3 and 4
sweeps stay far apart (test_transition.py measures that), as the tests' power needs.
"""

from functools import cache

import numpy as np

from .exact import Model
from .layers import bernoulli, gaussian, spin

UNITS = ("bernoulli", "spin", "gaussian")
VALUES = {"bernoulli": (0, 1), "spin": (-1, 1)}
PAIRS = tuple((v, h) for v in UNITS for h in UNITS)
MIXED_PAIRS = tuple(pair for pair in PAIRS if pair != ("gaussian", "gaussian"))

WEIGHTS = np.array([[1.1, -0.6, 0.4], [0.9, 0.7, -0.5], [-0.8, 1.0, 0.6]])
BIASES = {"visible": np.array([0.2, -0.3, 0.1]), "hidden": np.array([-0.2, 0.15, 0.3])}
PRECISION = np.array([0.8, 1.3, 1.0])
# Couplings that give each pair about the same strength: a Bernoulli unit spans 1, a spin 2.
SCALE = {
    ("bernoulli", "bernoulli"): 3.5,
    ("bernoulli", "spin"): 2.6,
    ("spin", "bernoulli"): 1.6,
    ("spin", "spin"): 1.1,
    ("bernoulli", "gaussian"): 1.5,
    ("gaussian", "bernoulli"): 1.8,
    ("spin", "gaussian"): 0.9,
    ("gaussian", "spin"): 1.1,
    ("gaussian", "gaussian"): 0.45,
}


def layer(unit, side, n):
    """n <= 3 units of the fixed biases (and precisions)."""
    bias = BIASES[side][:n]
    if unit == "gaussian":
        return gaussian(bias, PRECISION[:n])
    return {"bernoulli": bernoulli, "spin": spin}[unit](bias)


@cache
def small_model(visible, hidden):
    """3 discrete units against 3 discrete or 2 Gaussian ones; 3 against 2 Gaussian units."""
    n_visible = 2 if visible == "gaussian" and hidden != "gaussian" else 3
    n_hidden = 2 if hidden == "gaussian" else 3
    weights = SCALE[visible, hidden] * WEIGHTS[:n_visible, :n_hidden]
    return Model(layer(visible, "visible", n_visible), layer(hidden, "hidden", n_hidden), weights)


def starts(unit, n):
    """Three visible states far apart."""
    if unit == "gaussian":
        return np.array([[2.0, -1.5, 0.5], [-1.0, 2.5, -2.0], [0.3, 0.2, 1.5]])[:, :n]
    bits = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1]])[:, :n]
    return 2 * bits - 1 if unit == "spin" else bits
