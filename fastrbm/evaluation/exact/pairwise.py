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
from . import draws
from .plan import OVERHEAD, RATES, NotApplicable, Raw, fewer_units, too_large, work
from .problem import U_LONG, U, bits, bits_of, states
from .shards import ShardPlan, merge, rounded

#: Most units: states are numbered in 64 bits.
MOST = 60
#: Up to this many units an engine is built to know its memory.
SIZED = 36
#: Fields count as none where log <cosh(field . s)> is below this.
NO_FIELD = 1e-17
#: Roundings of an exponent by csrc, relative to the sum of its terms, beside one for each unit.
EXPONENT_ROUNDINGS = 16
#: The numbers of inner states, as powers of two, that blocks are made of when more is needed.
REFINEMENTS = (6, 4, 2)
#: A shard in blocks of one state, an exponential each, over the same by multiply-adds.
SINGLE64, SINGLE32 = 300, 600
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
    gives_squares = True

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
        self._engine = None
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

    def bytes(self, n_threads):
        """Tiles of three panels for every thread."""
        n = self.n_free
        if n == 0:
            return 0.0
        if n <= SIZED:
            return float(self.open(n_threads).bytes(n_threads))
        sized = core.Pairwise(np.zeros(SIZED), np.zeros((SIZED, SIZED)), 0, 1, self.float32)
        # Beside that: log-weights of the states of each group, and a record a shard.
        records = core.PARTIAL.itemsize * sized.n_shards
        return sized.bytes(n_threads) + work((n + 2) // 3, 24.0) + work(n - SIZED, records)

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

    def open(self, n_threads):
        if self.n > MOST:
            raise NotApplicable(f"method 'pairwise' takes at most {MOST} units, got {self.n}")
        if self._engine is None:
            self._engine = self._made(*self.parameters())
        return self._engine

    def _made(self, linear, coupling, bits=None):
        low, high = self.pairs.low, self.pairs.high
        return core.Pairwise(linear, coupling, low, high, float32=self.float32, bits=bits)

    def run_engine(self, engine, run, indices, partials, block_bits=None):
        engine.run(run.executor, indices, partials, block_bits)

    def log_partition(self, run):
        if self.pairs is not None and self.n_free == 0:  # one spin without a field
            return self._total(0.0, 0.0)
        return super().log_partition(run)

    def close(self, engine, run, partials):
        partials, _ = self.refined(engine, run, partials)
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

        The threshold comes from the merged sum of the first pass over all shards. Returns the
        partial results and the block_bits of each shard, uint8.
        """
        partials = partials.copy()
        bits = np.full(len(partials), engine.tile_bits[2], np.uint8)
        tolerance = (1e-8 if self.float32 else 1e-16) / engine.n_shards
        value, _ = merge(partials)
        for block_bits in (*(b for b in REFINEMENTS if b < engine.tile_bits[2]), 0):
            with np.errstate(divide="ignore"):
                logs = np.log(partials["lost"]) + partials["exponent"]
            again = np.flatnonzero(logs > value + math.log(tolerance))
            if not len(again):
                break
            each = self.shard_seconds(engine, run, np.uint8(block_bits))
            self.afford(run, each * len(again))
            new = np.zeros(len(again), core.PARTIAL)
            stride = max(run.n_threads, round(0.2 / each))
            for first in range(0, len(again), stride):
                part = slice(first, first + stride)
                indices = partials["index"][again[part]].copy()
                self.run_engine(engine, run, indices, new[part], block_bits)
                run.advance(each * len(indices), self)
            partials[again], bits[again] = new, block_bits
            if value == -math.inf:
                value, _ = merge(partials)
        return partials, bits

    def shard_seconds(self, engine, run, block_bits):
        """Return what shards take in blocks of so many states (an array or a number)."""
        full = self.seconds(run.n_threads) / engine.n_shards
        single = SINGLE32 if self.float32 else SINGLE64
        return full * np.where(block_bits > 0, 1 + 24 / 2.0**block_bits, single)

    def afford(self, run, seconds):
        """Add work that was not foreseen; refuse what would take too long."""
        if run.elapsed() + seconds > run.max_seconds:
            raise too_large(self, run.elapsed() + seconds, self.bytes(run.n_threads), run)
        run.total += seconds

    # ---------------------------------------------------------------------------------- moments

    def moments(self, run, squares, heat):
        """Means and products of the discrete side from three products, one a pair of groups.

        Plan k has the groups A, B, C turned by k places, so that its panel F is the k-th panel of
        the first; the variance of the log-weight is the panels' plus twice their covariances.
        """
        problem, beta, n = self.problem, self.problem.beta, self.n_free
        squares = {1 - side for side in squares} if self.swap else squares
        log_z, mean, square = 0.0, np.zeros(n), np.zeros((n, n))
        linear, coupling = self.parameters()
        error, panels = 0.0, []
        if n:
            engine = self.open(run.n_threads)
            groups = np.split(np.arange(n), np.cumsum(engine.bits)[:2])
            for k in range(3):
                turned = groups[k:] + groups[:k]
                order = np.concatenate(turned)
                sizes = tuple(len(group) for group in turned)
                part = self._made(linear[order], coupling[np.ix_(order, order)], sizes)
                found = self._moments_of(part, run, heat)
                units = order[: sizes[0] + sizes[1]]
                mean[units], square[np.ix_(units, units)] = found[1], found[2]
                panels.append(found[3:5])
                error = max(error, part.relative_error + merge(found[5])[1])
                if k == 0:
                    log_z, bits = merge(found[5])[0], found[6]
                run.advance(self.seconds(run.n_threads), self)
        size = float(linear @ mean) + 0.5 * float((coupling * square).sum())  # no diagonal
        variance = None
        if heat:
            variance = sum(v for _, v in panels) if n else 0.0
            if n:
                variance += 2 * self._covariances(engine, run, bits, log_z, panels)
            variance /= beta**2
        total = self._total(log_z, error)
        if self.even:
            whole = np.ones((self.n, self.n))
            whole[:n, :n] = square
            whole[:n, n] = whole[n, :n] = mean
            # log Z moves by the square of a field this small, but means by the field itself: to
            # first order d <s_i> / d linear_j = <s_i s_j>.
            mean, square = whole @ self.pairs.linear.astype(np.float64), whole
        diagonal = 1.0 if self.pairs.low == -1 else mean
        np.fill_diagonal(square, diagonal)
        raw = joint_moments(problem, mean, square, squares, total, -size / beta, variance)
        return raw.swapped() if self.swap else raw

    def _moments_of(self, engine, run, heat):
        """Return the engine's moments, with fewer states a block where more is needed."""
        found = engine.moments(run.executor, None, heat)
        _, bits = self.refined(engine, run, found[5])
        if (bits != engine.tile_bits[2]).any():
            seconds = float(self.shard_seconds(engine, run, bits).sum())
            self.afford(run, seconds)
            found = engine.moments(run.executor, bits, heat)
            run.advance(seconds, self)
        return (*found, bits)

    def _covariances(self, engine, run, bits, log_z, panels):
        """Return the sum of the covariances of the three panels' log-weights."""
        centres = tuple(float(mean) for mean, _ in panels)
        total = 0.0
        for powers in ((1, 1, 0), (0, 1, 1), (1, 0, 1)):
            for block_bits in np.unique(bits):
                indices = np.flatnonzero(bits == block_bits).astype(np.uint64)
                partials = np.zeros(len(indices), core.PARTIAL)
                engine.run(run.executor, indices, partials, int(block_bits), powers, centres)
                used = partials[partials["mantissa"] != 0]
                total += math.fsum(used["mantissa"] * np.exp(used["exponent"] - log_z))
            run.advance(self.seconds(run.n_threads), self)
        return total

    # ------------------------------------------------------------------------------------ draws

    def draw(self, run, n, key):
        """Draw a shard, in it a block and a pair of states of A and B, then the state of C."""
        own = np.ones((n, self.n))
        if self.n_free:
            own[:, : self.n_free] = self._draw_free(run, n, key)
        if self.even:  # both signs are as likely
            own *= np.where(draws.uniforms(draws.part_key(key, 2), n) < 0.5, -1.0, 1.0)[:, None]
        other = draws.conditional(self.problem, 1, own, key, run.executor)
        return (other, own) if self.swap else (own, other)

    def _draw_free(self, run, n, key):
        engine = self.open(run.n_threads)
        indices = np.arange(engine.n_shards, dtype=np.uint64)
        partials, bits = self.refined(engine, run, self.run_shards(engine, run, indices))
        mass = partials["mantissa"] * np.exp(partials["exponent"] - partials["exponent"].max())
        edges = np.cumsum(mass)
        u = draws.uniforms(key, n) * edges[-1]
        inner = draws.uniforms(draws.part_key(key, 1), n)
        shard = np.minimum(np.searchsorted(edges, u, side="right"), len(edges) - 1)
        out = np.empty((n, self.n_free))
        for s in np.unique(shard):
            mine = np.flatnonzero(shard == s)
            part = (u[mine] - (edges[s - 1] if s else 0.0)) / mass[s]
            pick = _Shard(self, engine, run, int(s), int(bits[s]))
            out[mine] = pick.draw(part, inner[mine])
        return out


class _Shard:
    """Draws within one shard of a pairwise plan."""

    def __init__(self, plan, engine, run, index, block_bits):
        self.plan, self.engine, self.run = plan, engine, run
        self.index, self.block_bits = index, block_bits
        self.first = engine.place(index)
        self.sizes = [1 << b for b in engine.tile_bits]

    def _weights(self, block):
        """Weights of (a, b) in one block of c, flat with a slowest, and their common exponent."""
        exponents, weights = self.engine.tile(self.run.executor, self.index, self.block_bits, block)
        top = exponents.max()
        if top == -np.inf:
            return np.zeros(weights.size), 0.0
        return (weights * np.exp(exponents - top)).ravel(), float(top)

    def draw(self, u, v):
        """Return states (m, n_free) from uniforms for (block, a, b) and for c."""
        n_blocks = self.sizes[2] >> self.block_bits
        sums, tops = np.zeros(n_blocks), np.full(n_blocks, -np.inf)
        for block in range(n_blocks):
            weights, top = self._weights(block)
            sums[block] = weights.sum()
            tops[block] = top if sums[block] > 0 else -np.inf
        edges = np.cumsum(sums * np.exp(tops - tops.max()))
        at = u * edges[-1]
        chosen = np.minimum(np.searchsorted(edges, at, side="right"), n_blocks - 1)
        out = np.empty((len(u), self.plan.n_free))
        for block in np.unique(chosen):
            mine = chosen == block
            weights, top = self._weights(int(block))
            inner = np.cumsum(weights * np.exp(top - tops.max()))
            left = edges[block - 1] if block else 0.0
            pair = np.searchsorted(inner, at[mine] - left, side="right")
            pair = np.minimum(pair, np.flatnonzero(weights)[-1])
            out[mine] = self._with_third(int(block), pair, v[mine])
        return out

    def _with_third(self, block, pair, v):
        """Return whole states given the pairs (a, b) and uniforms for c."""
        linear, coupling = self.plan.parameters()
        low, high = self.plan.pairs.low, self.plan.pairs.high
        n_a, n_b, n_c = self.engine.bits
        a = self.first[0] + pair // self.sizes[1]
        b = self.first[1] + pair % self.sizes[1]
        x = low + (high - low) * np.concatenate([bits_of(a, n_a), bits_of(b, n_b)], axis=1)
        begin = self.first[2] + (block << self.block_bits)
        third = low + (high - low) * bits(n_c, begin, 1 << self.block_bits)
        c = slice(n_a + n_b, None)
        own = 0.5 * ((third @ coupling[c, c]) * third).sum(1)  # without the diagonal: it is zero
        out = np.empty((len(pair), self.plan.n_free))
        out[:, : n_a + n_b] = x
        step = max(1, 2**20 // len(third))
        for first in range(0, len(pair), step):
            part = slice(first, first + step)
            logs = (linear[c] + x[part] @ coupling[: n_a + n_b, c]) @ third.T + own
            inner = np.cumsum(np.exp(logs - logs.max(1, keepdims=True)), axis=1)
            at = (inner <= (v[part] * inner[:, -1])[:, None]).sum(1)
            out[part, c] = third[np.minimum(at, len(third) - 1)]
        return out
