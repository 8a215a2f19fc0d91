"""Partition functions in closed form at 50 digits, for models far beyond enumeration.

Curie-Weiss and every model with few distinct rows of weights: sums over counts. Two Gaussian
layers: one determinant. The two-dimensional Ising torus: B. Kaufman, "Crystal statistics II",
Phys. Rev. 76, 1232 (1949). Each takes the parameters as they are stored.
"""

from itertools import product

import mpmath
import numpy as np

from .enumeration import DIGITS, cgf_in_wide, sides_of, smaller_side, unit_in_mpmath
from .exact import Model
from .layers import spin
from .wide import WIDE


def by_counts(model, beta=1.0, side=None):
    """log Z of a model whose enumerated units fall into groups of equal weights and biases.

    Only the number of high units in each group matters: prod (m_g + 1) terms with binomials.
    """
    layer, other, weights = sides_of(model, side or smaller_side(model))
    rows, sizes = np.unique(np.column_stack([layer.bias, weights]), axis=0, return_counts=True)
    low, high = layer.values
    with mpmath.workdps(DIGITS):
        beta = mpmath.mpf(float(beta))
        rows = [[mpmath.mpf(float(x)) for x in row] for row in rows]
        terms = []
        for counts in product(*(range(size + 1) for size in sizes)):
            sums = [k * high + (int(size) - k) * low for k, size in zip(counts, sizes, strict=True)]
            ways = mpmath.fprod(
                mpmath.binomial(int(size), k) for k, size in zip(counts, sizes, strict=True)
            )
            own = mpmath.fsum(row[0] * s for row, s in zip(rows, sums, strict=True))
            units = [
                unit_in_mpmath(
                    other, j,
                    mpmath.fsum(row[1 + j] * s for row, s in zip(rows, sums, strict=True)), beta,
                )[0]
                for j in range(other.n)
            ]  # fmt: skip
            terms.append(ways * mpmath.exp(beta * own) * mpmath.fprod(units))
        return mpmath.log(mpmath.fsum(terms))


def by_many_counts(model, beta=1.0):
    """`by_counts` over the visible layer for up to a million terms, in `wide` numbers."""
    layer, other = model.visible, model.hidden
    rows, sizes = np.unique(
        np.column_stack([layer.bias, model.weights]), axis=0, return_counts=True
    )
    low, high = layer.values
    grid = np.meshgrid(*(np.arange(size + 1) for size in sizes), indexing="ij")
    array = WIDE.array
    total = array(np.zeros(grid[0].size))
    fields = array(np.tile(other.bias, (grid[0].size, 1)))
    for counts, size, row in zip(grid, sizes, rows, strict=True):
        k = counts.ravel()
        states = array((high * k + low * (size - k)).astype(float))
        total = total + log_binomials(int(size))[k] + states * (array(row[0]) * array(beta))
        fields = fields + states[:, None] * array(row[1:])
    total = total + WIDE.sum(cgf_in_wide(other, fields, beta), 1)
    top = total[int(WIDE.to_float(total).argmax())]
    return WIDE.to_mpmath(top + WIDE.log(WIDE.sum(WIDE.exp(total - top), 0)))


def log_binomials(n):
    """log C(n, k) for k = 0..n, wide."""
    with mpmath.workdps(DIGITS):
        log_factorial = [mpmath.mpf(0)]
        for k in range(1, n + 1):
            log_factorial.append(log_factorial[-1] + mpmath.log(k))
        values = [log_factorial[n] - log_factorial[k] - log_factorial[n - k] for k in range(n + 1)]
        first = [float(v) for v in values]
        rest = [float(v - f) for v, f in zip(values, first, strict=True)]
    return WIDE.array(np.array(first)) + WIDE.array(np.array(rest))


def two_gaussian_layers(model, beta=1.0):
    """log Z = beta/2 b' L^-1 b - 1/2 log det(beta L / 2 pi), L the joint precision."""
    v, h = model.visible, model.hidden
    with mpmath.workdps(DIGITS):
        precision = mpmath.matrix(v.n + h.n)
        for i, gamma in enumerate([*v.precision, *h.precision]):
            precision[i, i] = mpmath.mpf(float(gamma))
        for i, j in np.ndindex(model.weights.shape):
            precision[i, v.n + j] = precision[v.n + j, i] = -mpmath.mpf(float(model.weights[i, j]))
        bias = mpmath.matrix([mpmath.mpf(float(b)) for b in [*v.bias, *h.bias]])
        beta = mpmath.mpf(float(beta))
        solved = mpmath.lu_solve(precision, bias)
        quadratic = beta * (bias.T * solved)[0] / 2
        log_det = mpmath.log(mpmath.det(precision * (beta / (2 * mpmath.pi))))
        return quadratic - log_det / 2


def kaufman(n, m, coupling):
    """log Z of the n x m Ising torus, sum over bonds of coupling s s' (each site has four ends)."""
    with mpmath.workdps(DIGITS):
        k = mpmath.mpf(coupling)
        gamma = [2 * k + mpmath.log(mpmath.tanh(k))]
        for r in range(1, 2 * n):
            c = mpmath.cosh(2 * k) / mpmath.tanh(2 * k) - mpmath.cos(mpmath.pi * r / n)
            gamma.append(mpmath.acosh(c))
        half = mpmath.mpf(m) / 2
        products = [
            mpmath.fprod(2 * function(half * gamma[2 * r + offset]) for r in range(n))
            for offset in (1, 0)
            for function in (mpmath.cosh, mpmath.sinh)
        ]
        factor = half * n * mpmath.log(2 * mpmath.sinh(2 * k))
        return factor + mpmath.log(mpmath.fsum(products) / 2)


def torus(n, m, coupling):
    """The n x m Ising torus as a Spin-Spin model, one hidden unit a bond, cosh(2 w) = exp(2 K).

    Returns the model and its log Z. w is stored as float64, and K is taken back from it.
    """
    site = np.arange(n * m).reshape(n, m)
    right, down = np.roll(site, -1, axis=1), np.roll(site, -1, axis=0)
    bonds = [*zip(site.flat, right.flat, strict=True), *zip(site.flat, down.flat, strict=True)]
    weights = np.zeros((n * m, len(bonds)))
    with mpmath.workdps(DIGITS):
        w = float(mpmath.acosh(mpmath.exp(2 * mpmath.mpf(coupling))) / 2)
        for bond, ends in enumerate(bonds):
            weights[list(ends), bond] = w
        k = mpmath.log(mpmath.cosh(2 * mpmath.mpf(w))) / 2
        log_z = kaufman(n, m, k) + len(bonds) * (mpmath.log(2) + k)
    return Model(spin(np.zeros(n * m)), spin(np.zeros(len(bonds))), weights), log_z
