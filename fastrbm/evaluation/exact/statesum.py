"""Sums over rows of states that Python lays out: what quadrature and counts share.

Each row k of the enumerated (first) side gives the other side the inputs x_k = K_k V and has a
log-weight of its own, so that

    log Z = log sum_k exp(l_k + sum_j cgf_j(x_kj)),

with cgf from csrc/layers. A subclass says what K, V and l are and what a row means for the units
of the first side. Moments and draws follow from the same rows: given a row the units of the other
side are independent.

Error: every row carries a bound e_k on the rounding of its exponent; log Z is then off by at most
log of the mean of exp(e_k) over the law of the rows, plus what the summation adds (SUMMATION).
"""

import dataclasses
import math

import numpy as np

from . import draws
from .plan import OVERHEAD, RATES, Plan, Raw, Sum
from .problem import U_LONG, U, states

#: Elements of the arrays of one block of rows.
BLOCK = 2**18
#: Relative rounding of sum_k exp(l_k - max): exp within 4 ulp, differences, pairwise summation.
SUMMATION = 128 * U
#: Roundings of a cgf relative to its value: the softplus kernel within 4 ulp, doubled for spins,
#: whose cgf is a difference of two terms of at most twice its size.
CGF_ROUNDINGS = 24


@dataclasses.dataclass(slots=True)
class Rows:
    """Some rows: K (m, n_fields), log-weights l, bounds on their rounding, and -E without x."""

    coefficients: np.ndarray
    log_weights: np.ndarray
    errors: np.ndarray
    own: np.ndarray | None


class StateSum(Plan):
    """A plan that sums over rows; `problem` has the enumerated side first.

    A subclass sets `problem`, `swap` (whether the user's model is the other way round), `fields`
    (V), `field_sizes` (the sizes of what V was summed from), `n_states`, `constant`,
    `constant_error`, and defines `rows`, `first_means`, `first_products`, `first_squares` and
    `states_of`.
    """

    field_roundings = 0.0  # of V, in units of U field_sizes
    constant = 0.0
    constant_error = 0.0

    def seconds(self, n_threads):
        """One cgf for each row and unit."""
        return OVERHEAD + self.n_states * self.problem.second.n / RATES["cgf"]

    def bytes(self, n_threads):
        """Half a dozen arrays of a block."""
        return 8.0 * 8 * max(BLOCK, self.problem.second.n)

    def block_rows(self):
        """Return how many rows are taken at a time."""
        return max(1, BLOCK // self.problem.second.n)

    def rows(self, run):
        """Yield `Rows` in a fixed order."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ log Z

    def exponents(self, rows, executor):
        """Return l_k + sum_j cgf_j in long double, bounds on their rounding, and the inputs x."""
        x = rows.coefficients @ self.fields
        values, errors = self.other_side(rows.coefficients, x, executor)
        total = rows.log_weights + values
        return total, rows.errors + errors + U_LONG * abs(total).astype(np.float64), x

    def other_side(self, coefficients, x, executor):
        """Return sum_j cgf_j(x_kj) of each row and a bound on its rounding."""
        layer, beta = self.problem.second, self.problem.beta
        cgf = np.empty_like(x)
        layer._core.cgf(executor, x, beta, cgf)
        depth = 40 + layer.n / 8192  # of NumPy's pairwise summation in buffers
        n_terms = coefficients.shape[1] + 4 + self.field_roundings
        absolute = abs(coefficients)
        if layer.discrete:
            size = absolute @ self.field_sizes.sum(1)
            bias = float(abs(layer.bias).sum())
            bound = beta * U * (n_terms * size + 3 * bias)
            sizes = cgf.sum(1)  # none is negative
        else:
            field = abs(layer.bias + x)
            slope = beta * field / layer.precision
            bound = U * (slope * (n_terms * (absolute @ self.field_sizes) + 3 * field)).sum(1)
            logs = abs(np.log(beta * layer.precision)) + 2
            sizes = 0.5 * (slope * field).sum(1) + float(logs.sum())
        values = cgf.sum(1, dtype=np.longdouble)
        return values, bound + (U * CGF_ROUNDINGS + U_LONG * depth) * sizes

    def log_partition(self, run):
        """Return log Z and its bound."""
        tops, sums, errors = [], [], []
        for rows in self.rows(run):
            exponents, bounds, _ = self.exponents(rows, run.executor)
            top = float(exponents.max())
            weights = relative(exponents, top)
            tops.append(top)
            sums.append(float(weights.sum()))
            errors.append(float((weights * np.expm1(np.minimum(bounds, 700.0))).sum()))
            self.advance(run, len(exponents))
        top = max(tops)
        scale = [math.exp(t - top) for t in tops]
        total = math.fsum(s * f for s, f in zip(sums, scale, strict=True))
        excess = math.fsum(e * f for e, f in zip(errors, scale, strict=True)) / total
        value = math.fsum([top, math.log(total), self.constant])
        error = math.log1p(excess) + SUMMATION + self.constant_error
        return Sum(value, error + self.more_error(total) + 4 * U * (abs(value) + abs(top)))

    def more_error(self, total):
        """Return what the rows leave out, relative to Z; `total` is relative to the best row."""
        return 0.0

    def advance(self, run, n_rows, passes=1):
        """Count rows as done."""
        run.advance(n_rows / max(self.n_states, 1) * self.seconds(run.n_threads) / passes, self)

    # ---------------------------------------------------------------------------------- moments

    def moments(self, run, squares, heat):
        """Return all moments from a second pass over the rows."""
        log_z = self.log_partition(run)
        layer = self.problem.second
        squares = {1 - side if self.swap else side for side in squares}
        n_fields, n_other = self.fields.shape
        mean, square = np.zeros(n_fields), np.zeros((n_fields, n_fields))
        other, other_variance = np.zeros(n_other), np.zeros(n_other)
        cross, other_square = np.zeros((n_fields, n_other)), np.zeros((n_other, n_other))
        energies = np.zeros(3)  # weight, and first two moments about the first block's mean
        pivot = None
        for rows in self.moment_rows(run):
            exponents, _, x = self.exponents(rows, run.executor)
            w = relative(exponents, log_z.value - self.constant)
            m, variance, own, own_variance = self.given(x, run.executor)
            k = rows.coefficients
            mean += w @ k
            square += (k * w[:, None]).T @ k
            other += w @ m
            other_variance += w @ variance
            cross += (k * w[:, None]).T @ m
            if 1 in squares:
                other_square += (m * w[:, None]).T @ m
            energy = -(rows.own + own)
            pivot = float(w @ energy / w.sum()) if pivot is None and w.sum() > 0 else pivot or 0.0
            centred = energy - pivot
            energies += [w.sum(), w @ centred, w @ (centred**2 + own_variance)]
        total, shift, second = energies
        mean, square, other, cross = (a / total for a in (mean, square, other, cross))
        shift, second = shift / total, second / total
        first = self.first_means(mean)
        result = {}
        if 0 in squares:
            result[0] = self.first_squares(mean, square)
        if 1 in squares:
            result[1] = other_square / total
            diagonal = np.diag_indices(n_other)
            result[1][diagonal] += other_variance / total
            if layer.discrete and states(layer)[0] == -1:
                result[1][diagonal] = 1.0
        products = self.first_products(mean, cross, other)
        raw = Raw(log_z.value, log_z.error, first, other, products, result, pivot + shift,
                  second - shift**2)  # fmt: skip
        return raw.swapped() if self.swap else raw

    def moment_rows(self, run):
        """Yield rows for moments: as `rows`, with `own` filled in."""
        return self.rows(run)

    def given(self, x, executor):
        """Return means and variances of the other side, and mean and variance of its -E, a row.

        -E of unit j is d cgf_j / d beta in the mean: (a + x) s, and for a Gaussian unit
        (a + x)^2 / (2 precision) - 1 / (2 beta), with variance 1 / (2 beta^2) about the rest.
        """
        layer, beta = self.problem.second, self.problem.beta
        mean, variance = np.empty_like(x), np.empty_like(x)
        layer._core.mean(executor, x, beta, mean)
        layer._core.variance(x, beta, variance)
        field = layer.bias + x
        if layer.discrete:
            return mean, variance, (field * mean).sum(1), (field**2 * variance).sum(1)
        own = (0.5 * field * mean).sum(1) - 0.5 * layer.n / beta
        # h (b + x) - gamma h^2 / 2 = field^2 / (2 gamma) - gamma (h - mean)^2 / 2
        return mean, variance, own, np.full(len(x), 0.5 * layer.n / beta**2)

    def first_means(self, mean):
        """Return the means of the first side from those of the coefficients."""
        raise NotImplementedError

    def first_products(self, mean, cross, other):
        """Return <first other> from <K other>."""
        raise NotImplementedError

    def first_squares(self, mean, square):
        """Return <first first> from <K K>."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ draws

    def draw(self, run, n, key):
        """Draw rows by their inverse CDF, then the units given their rows."""
        u = draws.uniforms(key, n)
        tops, sums = [], []
        for rows in self.moment_rows(run):
            exponents, _, _ = self.exponents(rows, run.executor)
            tops.append(float(exponents.max()))
            sums.append(float(relative(exponents, tops[-1]).sum()))
            self.advance(run, len(exponents), passes=2)
        edges = np.cumsum(np.array(sums) * np.exp(np.array(tops) - max(tops)))
        u = u * edges[-1]
        block = np.minimum(np.searchsorted(edges, u, side="right"), len(edges) - 1)
        chosen = np.empty((n, self.fields.shape[0]))
        for b, rows in enumerate(self.moment_rows(run)):
            mine = np.flatnonzero(block == b)
            if len(mine):
                exponents, _, _ = self.exponents(rows, run.executor)
                inner = np.cumsum(relative(exponents, max(tops)))
                left = edges[b - 1] if b else 0.0
                at = np.searchsorted(inner, (u[mine] - left) * (inner[-1] / (edges[b] - left)),
                                     side="right")  # fmt: skip
                chosen[mine] = rows.coefficients[np.minimum(at, len(inner) - 1)]
            self.advance(run, len(rows.log_weights), passes=2)
        first, second = self.states_of(run, chosen, key)
        return (second, first) if self.swap else (first, second)

    def states_of(self, run, chosen, key):
        """Draw the states of both sides given rows."""
        raise NotImplementedError


def relative(exponents, top):
    """Return exp(exponents - top) as float64."""
    return np.exp((exponents - top).astype(np.float64))
