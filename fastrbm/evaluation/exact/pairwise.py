"""The pairwise method: Gaussian units integrated, the couplings left summed by matrix products.

Integrating the Gaussian layer of a Gaussian-discrete pair leaves

    log weight(x) = constant + sum_i linear_i x_i + sum_{i<j} coupling_ij x_i x_j,

with coupling = beta J, J_ij = sum_mu W_i,mu W_j,mu / gamma_mu, and linear = beta theta,
theta_i = a_i + sum_mu b_mu W_i,mu / gamma_mu, plus J_ii / 2 for Bernoulli units (x^2 = x);
constant = sum_mu [beta b_mu^2 / (2 gamma_mu) + log(2 pi / (beta gamma_mu)) / 2], plus
beta sum_i J_ii / 2 for spins. All of it is summed in long double, so that fields that cancel do.
"""

import dataclasses
import math

import numpy as np

from ..._lib import core
from .plan import OVERHEAD, RATES, NotApplicable, Raw, fewer_units, too_large, work
from .problem import U_LONG, U, states
from .shards import ShardPlan, merge, rounded

#: Most units: states are numbered in 64 bits.
MOST = 60
#: Fields count as none where log <cosh(field . s)> is below this.
NO_FIELD = 1e-17
#: Roundings of an exponent by csrc, relative to the sum of its terms, beside one for each unit.
EXPONENT_ROUNDINGS = 16
#: The numbers of inner states, as powers of two, that blocks are made of when more is needed.
REFINEMENTS = (6, 4, 2)
#: What may be lost at last, relative to Z.
MOST_LOST = 1e-6


@dataclasses.dataclass(slots=True)
class Pairs:
    """The pairwise model of the discrete side; arrays in long double.

    `slope` is the part of the constant that goes with beta, divided by it; `error` bounds the
    rounding of a log-weight that the parameters' own rounding makes.
    """

    linear: np.ndarray
    coupling: np.ndarray
    constant: float
    slope: float
    low: float
    high: float
    error: float


def reduced(problem):
    """Return the `Pairs` of a problem with one Gaussian and one discrete side.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.pairwise import reduced
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Gaussian(1), weights=[[2.0], [3.0]])
    >>> pairs = reduced(Problem(rbm, 0.5))
    >>> float(pairs.coupling[0, 1]), float(pairs.linear[0])
    (3.0, 0.0)
    """
    if problem.first.discrete == problem.second.discrete:
        raise NotApplicable("method 'pairwise' needs a Gaussian layer against a discrete one")
    gaussian, discrete, weights = problem.second, problem.first, problem.weights
    if problem.first.unit == "gaussian":
        gaussian, discrete, weights = problem.first, problem.second, problem.weights.T
    low, high = states(discrete)
    beta = np.longdouble(problem.beta)
    w = weights.astype(np.longdouble)
    gamma, b = gaussian.precision.astype(np.longdouble), gaussian.bias.astype(np.longdouble)
    scaled = w / gamma
    coupling = beta * (scaled @ w.T)
    linear = beta * (discrete.bias + scaled @ b)
    own = np.diag(coupling).copy() / 2
    np.fill_diagonal(coupling, 0)
    terms = b * b / (2 * gamma)
    logs = (np.log(2 * np.longdouble(np.pi) / (beta * gamma))) / 2
    constant = beta * terms.sum() + logs.sum()
    slope = terms.sum()
    if low == 0:
        linear = linear + own
    else:
        constant = constant + own.sum()
        slope = slope + own.sum() / beta
    sizes = float(
        beta * (abs(discrete.bias).sum() + (abs(scaled) @ abs(b)).sum() + terms.sum())
        + own.sum() * 2 + abs(logs).sum()
    )  # fmt: skip
    sizes += float(beta) * float((abs(scaled).sum(0) * abs(w).sum(0)).sum())
    # pi itself is a float64: its logarithm is off by 4e-17 for each unit.
    error = U_LONG * (gaussian.n + 8) * sizes + 2e-17 * gaussian.n
    return Pairs(linear, coupling, constant, slope, low, high, error)


def joint_moments(problem, mean, square, squares, log_z, energy, variance):
    """Return moments of a discrete first and a Gaussian second side from those of the first.

    Parameters
    ----------
    problem : Problem
    mean, square : ndarray (n,), (n, n)
        <x_i> and <x_i x_j> of the discrete side.
    squares : set of int
        The sides whose second moments are wanted.
    log_z : Sum
    energy, variance : float, float or None
        Mean and variance of minus the pairwise log-weight over beta, constant aside.

    Notes
    -----
    Given x a Gaussian unit has the mean (b + W^T x) / gamma and the variance 1 / (beta gamma).
    """
    gaussian, beta = problem.second, problem.beta
    b, gamma = gaussian.bias, gaussian.precision
    w = problem.weights
    hidden = (b + mean @ w) / gamma
    products = (np.outer(mean, b) + square @ w) / gamma
    found = {}
    if 0 in squares:
        found[0] = square
    if 1 in squares:
        field = mean @ w
        raw = np.outer(b, b) + np.outer(b, field) + np.outer(field, b) + w.T @ square @ w
        found[1] = raw / np.outer(gamma, gamma) + np.diag(1 / (beta * gamma))
    pairs_slope = float(reduced(problem).slope)
    energy = energy - pairs_slope + 0.5 * gaussian.n / beta
    variance = None if variance is None else variance + 0.5 * gaussian.n / beta**2
    return Raw(log_z.value, log_z.error, mean, hidden, products, found, energy, variance)


def log_cosh_bound(linear):
    """Return a bound on log <cosh(sum_i linear_i s_i)> over spins of any even law: (sum)^2 / 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.evaluation.exact.pairwise import log_cosh_bound
    >>> log_cosh_bound(np.array([3e-9, -1e-9]))
    8e-18
    """
    total = math.fsum(abs(float(x)) for x in linear)
    return total * total / 2


# ------------------------------------------------------------------------------------ the method


def plan(problem, float32=False):
    """Return the plan of a Gaussian-discrete problem.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.pairwise import plan
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> rbm = fastrbm.RBM(fastrbm.Spin(30), fastrbm.Gaussian(4), rng=1)
    >>> plan(Problem(rbm, 1.0)).n_states == 2**29
    True
    """
    if problem.first.discrete == problem.second.discrete:
        raise NotApplicable("method 'pairwise' needs a Gaussian layer against a discrete one")
    return PairwisePlan(problem, float32)


class PairwisePlan(ShardPlan):
    """One multiply-add a state by core.Pairwise; half the states without a field on spins."""

    name = "pairwise"

    def __init__(self, problem, float32):
        self.swap = not problem.first.discrete
        self.problem = problem.swapped() if self.swap else problem  # the discrete side first
        self.float32 = float32
        self.n = self.problem.first.n
        self.pairs = reduced(self.problem) if self.n <= MOST else None
        # Without a field the global flip is a symmetry: one spin is held at +1.
        self.even = (
            self.pairs is not None
            and self.pairs.low == -1
            and log_cosh_bound(self.pairs.linear) <= NO_FIELD
        )
        self.n_free = self.n - self.even
        self.n_states = 2**self.n_free
        self.rate = RATES["pairwise32" if float32 else "pairwise64"]
        self.reason = (
            f"the Gaussian units are integrated; {self.n} {self.problem.first.unit} units, one "
            f"multiply-add a state{', half of them without a field' if self.even else ''}"
        )

    def seconds(self, n_threads):
        """2^n multiply-adds, and panels of 2^(2n/3) entries."""
        panels = work((2 * self.n_free + 2) // 3, 3e-9)
        return OVERHEAD + (work(self.n_free) / self.rate + panels) / n_threads

    def moment_seconds(self, n_threads):
        """Three products, and two panels as wide again."""
        return 4 * self.seconds(n_threads)

    def bytes(self, n_threads):
        """Tiles of three panels for every thread."""
        return float(self._engine().bytes(n_threads)) if 0 < self.n_free <= MOST else 0.0

    def fitting(self, ratio):
        """Work doubles with each unit."""
        return fewer_units(self.n, ratio, f"{self.problem.first.unit}")

    # ------------------------------------------------------------------------------------ log Z

    def parameters(self):
        """Return linear and coupling, float64, of the units that are free."""
        linear, coupling = self.pairs.linear, self.pairs.coupling
        if self.even:
            linear, coupling = coupling[:-1, -1], coupling[:-1, :-1]
        return linear.astype(np.float64), np.ascontiguousarray(coupling, dtype=np.float64)

    def _engine(self, order=None, bits=None):
        linear, coupling = self.parameters()
        if order is not None:
            linear, coupling = linear[order], np.ascontiguousarray(coupling[np.ix_(order, order)])
        more = {} if bits is None else {"bits": bits}
        return core.Pairwise(
            linear, coupling, self.pairs.low, self.pairs.high, float32=self.float32, **more
        )

    def open(self, n_threads):
        if self.n > MOST:
            raise NotApplicable(f"method 'pairwise' takes at most {MOST} units, got {self.n}")
        return self._engine()

    def run_engine(self, engine, run, indices, partials, block_bits=None):
        engine.run(run.executor, indices, partials, block_bits)

    def log_partition(self, run):
        if self.pairs is not None and self.n_free == 0:  # one spin without a field
            return self._total(0.0, 0.0)
        return super().log_partition(run)

    def close(self, engine, run, partials):
        partials = self.refined(engine, run, partials)
        value, lost = merge(partials)
        if not lost <= MOST_LOST:
            raise ArithmeticError("the pairwise product lost states that its bound cannot exclude")
        return self._total(value, engine.relative_error + lost)

    def _total(self, value, error):
        linear, coupling = self.parameters()
        size = float(abs(linear).sum()) + float(abs(coupling).sum()) / 2
        exponents = (self.n + EXPONENT_ROUNDINGS) * U * size
        error += exponents + self.pairs.error
        if self.even:
            error += log_cosh_bound(self.pairs.linear)
            value = np.longdouble(value) + np.log(np.longdouble(2))
        return rounded(float(np.longdouble(value) + self.pairs.constant), error)

    def refined(self, engine, run, partials):
        """Run shards again whose own bound on what was lost matters, in ever smaller blocks.

        The threshold comes from the merged sum of the first pass over all shards.
        """
        partials = partials.copy()
        tolerance = (1e-8 if self.float32 else 1e-16) / engine.n_shards
        value, _ = merge(partials)
        for block_bits in (*(b for b in REFINEMENTS if b < engine.tile_bits[2]), 0):
            with np.errstate(divide="ignore"):
                logs = np.log(partials["lost"]) + partials["exponent"]
            again = np.flatnonzero(logs > value + math.log(tolerance))
            if not len(again):
                break
            slower = 1 + 24 / 2**block_bits if block_bits else (120 if self.float32 else 60)
            per_shard = self.seconds(run.n_threads) / engine.n_shards
            seconds = slower * per_shard * len(again)
            if run.elapsed() + seconds > run.max_seconds:
                raise too_large(self, run.elapsed() + seconds, self.bytes(run.n_threads), run)
            new = np.zeros(len(again), core.PARTIAL)
            stride = max(run.n_threads, round(0.2 / (slower * per_shard)))
            for first in range(0, len(again), stride):
                part = slice(first, first + stride)
                indices = partials["index"][again[part]].copy()
                self.run_engine(engine, run, indices, new[part], block_bits)
            partials[again] = new
            if value == -math.inf:
                value, _ = merge(partials)
        return partials
