"""Sums over counts: units of a layer with equal weights act through how many of them are high.

Two-state units whose rows of W are equal up to sign form a group; with t_i = 1 where unit i is high
(low, where its row has the other sign), the other layer sees k = sum_i t_i alone. The weight of a
count is the coefficient of z^k in prod_i (w_i(0) + w_i(1) z), w_i the unit's own weight, whatever
the biases, so that 2^m states of a group become m + 1, and prod_g (m_g + 1) counts are summed:
Curie-Weiss models, constant and block-constant weights, duplicate columns, at any size.

Coefficients are kept as logarithms in long double: binomial ones by cumulative products of ratios,
products of polynomials by log-sums. For moments and draws, units of a group have equal biases too,
so that given k every choice of k of its m units is equally likely.
"""

import math

import numpy as np

from . import draws
from .plan import NotApplicable
from .problem import U_LONG, U, states
from .result import count_text
from .statesum import Rows, StateSum

#: Ratios multiplied before the exponent is taken out: 32 of at most 2^24 stay in any range.
CHUNK = 32


def plan(problem, side):
    """Return the plan that counts the units of one side.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm.evaluation.exact.counts import plan
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2000), fastrbm.Gaussian(1), weights=np.ones((2000, 1)))
    >>> plan(Problem(rbm, 0.01), 0).n_states
    2001
    """
    layer = problem.second if side else problem.first
    if not layer.discrete:
        raise NotApplicable("method 'counts' needs a layer of discrete units with equal weights")
    oriented = problem.oriented(side)
    sign, group = groups(oriented.weights)
    if group.max() + 1 == layer.n:
        raise NotApplicable("method 'counts' needs units with equal weights; all differ here")
    return CountsPlan(oriented, side == 1, sign, group)


def groups(rows):
    """Return the sign (n,) and the group (n,) of rows that are equal up to sign.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.evaluation.exact.counts import groups
    >>> sign, group = groups(np.array([[1.0, 2.0], [3.0, 0.0], [-1.0, -2.0]]))
    >>> sign.tolist(), group.tolist()
    ([1.0, 1.0, -1.0], [0, 1, 0])
    """
    leading = rows[np.arange(len(rows)), (rows != 0).argmax(1)]
    sign = np.where(leading < 0, -1.0, 1.0)
    aligned = rows * sign[:, None] + 0.0  # no negative zeros
    if aligned.shape[1] == 1:
        return sign, np.unique(aligned[:, 0], return_inverse=True)[1].reshape(-1)
    return sign, np.unique(aligned, axis=0, return_inverse=True)[1].reshape(-1)


class CountsPlan(StateSum):
    """Counts of groups of the first side; the fields have one column more, for the states at 0."""

    name = "counts"

    def __init__(self, problem, swap, sign, group, by_bias=False):
        self.problem, self.swap, self.sign, self.group = problem, swap, sign, group
        self.by_bias = by_bias
        self.sizes = np.bincount(group)
        self.n_states = math.prod(int(m) + 1 for m in self.sizes)
        self.reason = (
            f"{problem.first.n} units have {len(self.sizes)} different sets of weights: only how "
            "many of each are high matters"
        )
        self.low, high = states(problem.first)
        self.step = high - self.low
        first_of = np.unique(group, return_index=True)[1]
        weights = problem.weights
        # Fields where all t are 0, then what one more t of each group adds.
        at_zero = np.where(sign > 0, self.low, high)
        base = (at_zero[:, None] * weights.astype(np.longdouble)).sum(0)
        self.fields = np.vstack(
            [self.step * sign[first_of, None] * weights[first_of], base.astype(np.float64)[None]]
        )
        # What each field was summed from: the base adds n terms in long double.
        self.field_sizes = abs(self.fields)
        self.field_sizes[-1] = abs(at_zero) @ abs(weights)
        self.field_roundings = problem.first.n * U_LONG / U
        self.at_zero = at_zero
        self._coefficients = None

    def fitting(self, ratio):
        """Cost is the product of the groups' sizes."""
        if math.isinf(ratio):
            return "fewer or smaller groups of equal units"
        most = count_text(max(2, int(self.n_states / ratio)))
        return f"groups of equal units with at most {most} counts"

    def seconds(self, n_threads):
        """As any sum over rows, and the coefficients."""
        if self.n_states.bit_length() > 1000:
            return math.inf
        own = float((self.sizes**2).sum()) * 2e-7 if not self.by_bias else 0.0
        equal = self._equal_biases()
        return super().seconds(n_threads) + (0.0 if equal else own)

    def _equal_biases(self):
        bias = self.problem.first.bias * self.sign
        return bool((bias == bias[np.unique(self.group, return_index=True)[1]][self.group]).all())

    def coefficients(self):
        """Return for each group the log-weights of its counts, long double, and their bound."""
        if self._coefficients is None:
            beta = np.longdouble(self.problem.beta)
            bias = self.problem.first.bias.astype(np.longdouble)
            zero = beta * bias * self.at_zero
            one = beta * bias * (self.at_zero + self.sign * self.step)
            found = [
                log_coefficients(zero[self.group == g], one[self.group == g])
                for g in range(len(self.sizes))
            ]
            error = sum(e for _, e in found)
            self._coefficients = [c for c, _ in found], error
        return self._coefficients

    def rows(self, run):
        """Yield all combinations of counts."""
        logs, error = self.coefficients()
        shape = tuple(int(m) + 1 for m in self.sizes)
        n = self.block_rows()
        bias = self.problem.first.bias
        own_zero = float((bias * self.at_zero).sum())
        first_of = np.unique(self.group, return_index=True)[1]
        own_step = bias[first_of] * self.sign[first_of] * self.step
        for first in range(0, self.n_states, n):
            index = np.arange(first, min(first + n, self.n_states))
            counts = np.stack(np.unravel_index(index, shape), axis=1)
            wide = sum(c[k] for c, k in zip(logs, counts.T, strict=True))
            k = np.concatenate([counts, np.ones((len(index), 1))], axis=1)
            own = own_zero + counts @ own_step
            errors = error + len(logs) * U_LONG * abs(wide).astype(np.float64)
            yield Rows(k, wide, errors, own)

    # For moments, the units of a group have equal biases.

    def refined(self):
        """Return the plan whose groups have equal biases too."""
        if self.by_bias or self._equal_biases():
            return self
        bias = self.problem.first.bias * self.sign
        both = np.stack([self.group.astype(np.float64), bias + 0.0], axis=1)
        group = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
        return CountsPlan(self.problem, self.swap, self.sign, group, by_bias=True)

    def moment_seconds(self, n_threads, squares=()):
        """Two passes over the counts of units that have equal biases too."""
        refined = self.refined()
        if refined.n_states.bit_length() > 1000:
            return math.inf
        return 4 * refined.seconds(n_threads)

    def moments(self, run, squares, heat):
        """Moments of the refined plan."""
        refined = self.refined()
        return super().moments(run, squares, heat) if refined is self else refined.moments(
            run, squares, heat
        )  # fmt: skip

    def draw(self, run, n, key):
        """Draws of the refined plan."""
        refined = self.refined()
        return super().draw(run, n, key) if refined is self else refined.draw(run, n, key)

    def _unit_of(self, t):
        """States from t (.., n), also from its means."""
        return self.at_zero + self.sign * self.step * t

    def first_means(self, mean):
        return self._unit_of((mean[:-1] / self.sizes)[self.group])

    def first_products(self, mean, cross, other):
        t = (cross[:-1] / self.sizes[:, None])[self.group]
        return self.at_zero[:, None] * other + (self.sign * self.step)[:, None] * t

    def first_squares(self, mean, square):
        size = self.sizes.astype(np.float64)
        t = mean[:-1] / size
        pairs = square[:-1, :-1] / np.outer(size, size)
        with np.errstate(invalid="ignore", divide="ignore"):
            same = (np.diag(square)[:-1] - mean[:-1]) / (size * (size - 1))
        np.fill_diagonal(pairs, same)  # two units of one group: k (k - 1) / (m (m - 1))
        both = pairs[np.ix_(self.group, self.group)]
        t = t[self.group]
        np.fill_diagonal(both, t)
        zero, step = self.at_zero, self.sign * self.step
        return (
            np.outer(zero, zero) + np.outer(zero, step * t) + np.outer(step * t, zero)
            + np.outer(step, step) * both
        )  # fmt: skip

    def states_of(self, run, chosen, key):
        t = np.empty((len(chosen), self.problem.first.n))
        order = np.argsort(self.group, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        for r, counts in enumerate(chosen):
            word = draws.words(key, r, t.shape[1])
            for g, k in enumerate(counts[:-1]):
                units = order[starts[g] : starts[g + 1]]
                ranks = np.argsort(np.argsort(word[units], kind="stable"), kind="stable")
                t[r, units] = ranks < k
        first = self._unit_of(t)
        return first, draws.conditional(self.problem, 1, first, key, run.executor)


def log_coefficients(zero, one):
    """Return log of the coefficients of prod_i (exp(zero_i) + exp(one_i) z), and their bound.

    Parameters
    ----------
    zero, one : ndarray (m,), long double

    Returns
    -------
    (ndarray (m + 1,), float)
        Long double; the bound holds for every coefficient.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.evaluation.exact.counts import log_coefficients
    >>> np.exp(log_coefficients(np.zeros(4), np.zeros(4))[0]).round(6).astype(float).tolist()
    [1.0, 4.0, 6.0, 4.0, 1.0]
    """
    zero, one = np.asarray(zero, np.longdouble), np.asarray(one, np.longdouble)
    kinds, counts = np.unique(np.stack([zero, one], axis=1), axis=0, return_counts=True)
    total, error = None, 6 * U_LONG * float(abs(zero).sum() + abs(one).sum())
    for (w0, w1), m in sorted(zip(kinds.tolist(), counts.tolist(), strict=True),
                              key=lambda item: -item[1]):  # fmt: skip
        k = np.arange(m + 1)
        power, power_error = log_binomials(m)
        power = power + k * np.longdouble(w1) + (m - k) * np.longdouble(w0)
        error += power_error
        if total is None:
            total = power
            continue
        wide = np.full(len(total) + m, -np.inf, np.longdouble)
        for j in range(m + 1):
            part = slice(j, j + len(total))
            wide[part] = np.logaddexp(wide[part], total + power[j])
        error += (m + 2) * U_LONG * 4 * (float(abs(wide).max()) + 4)
        total = wide
    return total, error + 4 * U_LONG * float(abs(total).max())


def log_binomials(m):
    """Return log C(m, k) for k = 0 .. m in long double, and a bound on the rounding.

    Examples
    --------
    >>> import math
    >>> from fastrbm.evaluation.exact.counts import log_binomials
    >>> float(abs(log_binomials(100)[0][50] - math.log(math.comb(100, 50)))) < 1e-13
    True
    """
    k = np.arange(1, m + 1, dtype=np.longdouble)
    ratios = (m + 1 - k) / k
    logs = np.zeros(m + 1, np.longdouble)
    mantissa, exponent = np.longdouble(1), 0
    log2 = np.log(np.longdouble(2))
    for first in range(0, m, CHUNK):
        run = mantissa * np.cumprod(ratios[first : first + CHUNK])
        fraction, power = np.frexp(run)
        logs[first + 1 : first + 1 + len(run)] = np.log(fraction) + (power + exponent) * log2
        mantissa, exponent = fraction[-1], exponent + int(power[-1])
    return logs, U_LONG * (4 * m + 4 * float(logs.max(initial=0)) + 4)
