"""Pairwise log-weights of two-state units, state by state, in `wide` numbers.

    log w(x) = sum_i linear_i x_i + sum_{i<j} coupling_ij x_i x_j,   x_i = low or high

Bit i of a state's number is whether unit i is high.
"""

import numpy as np

from .wide import WIDE


def log_weights(linear, coupling, low, high):
    """All 2^n of them, wide: each unit doubles the states it has seen."""
    array, concatenate = WIDE.array, WIDE.concatenate
    n = len(linear)
    weights = array(np.zeros(1))
    fields = [array(np.array([b])) for b in linear]  # linear_i + sum over the units before i
    for i in range(n):
        own = fields[i]
        weights = concatenate([weights + own * float(low), weights + own * float(high)])
        for j in range(i + 1, n):
            c = array(coupling[i, j])
            fields[j] = concatenate([fields[j] + c * float(low), fields[j] + c * float(high)])
    return weights


def log_sum(values):
    """log of the sum of exp(values), an mpf."""
    top = values[int(WIDE.to_float(values).argmax())]
    return WIDE.to_mpmath(top + WIDE.log(WIDE.sum(WIDE.exp(values - top), 0)))


def random_pairs(n, scale, seed=0, field=True):
    """linear (n,) and symmetric coupling (n, n) with entries of the given size."""
    rng = np.random.default_rng(seed)
    linear = scale * rng.standard_normal(n) if field else np.zeros(n)
    coupling = scale * rng.standard_normal((n, n))
    return linear, (coupling + coupling.T) / 2
