"""The split product: one discrete layer enumerated in two halves, against any other layer.

csrc does the work (core.Split); here is when it applies, what it costs, and what it returns in the
terms of the other methods.
"""

import numpy as np

from ..._lib import core
from . import draws
from .plan import OVERHEAD, RATES, NotApplicable, Raw, fewer_units, work
from .problem import bits, bits_of, states
from .shards import ShardPlan, merge, rounded

#: Most units that are enumerated: states are numbered in 64 bits.
MOST = 60
#: States whose log-weights are looked at together when states are drawn.
CHUNK = 2**18
#: Values of the other layer whose products are summed at a time.
SQUARES_CHUNK = 2**18


def plan(problem, side):
    """Return the plan that enumerates one side (0 visible, 1 hidden).

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> from fastrbm.evaluation.exact.split import plan
    >>> plan(Problem(fastrbm.RBM(fastrbm.Spin(784), fastrbm.Spin(20)), 1.0), 1).n_states == 2**20
    True
    """
    layer = problem.second if side else problem.first
    if not layer.discrete:
        raise NotApplicable("method 'split' needs a layer of discrete units to enumerate")
    return SplitPlan(problem, side)


class SplitPlan(ShardPlan):
    """Enumeration of one side by core.Split."""

    name = "split"

    def __init__(self, problem, side):
        self.problem, self.side = problem, side
        layer, other = (problem.first, problem.second)[:: -1 if side else 1]
        self.n, self.n_other = layer.n, other.n
        self.n_states = 2**self.n
        self.rate = RATES["split" if other.discrete else "split_gaussian"]
        word = "hidden" if side else "visible"
        self.reason = f"the {self.n} {word} units are enumerated, the other layer is summed out"

    def seconds(self, n_threads):
        """2^n m state-units."""
        return OVERHEAD + work(self.n, self.n_other) / (self.rate * n_threads)

    def bytes(self, n_threads):
        """What the engine says: tables of half-states for every unit of the other layer."""
        if self.n > MOST:
            return work((self.n + 1) // 2, 16.0 * self.n_other)
        return float(core.Split.bytes(self.problem.rbm._core, self.side, n_threads))

    def moment_bytes(self, n_threads, squares=()):
        """Products of the other layer's means take chunks of states, and the result."""
        more = 64.0 * (SQUARES_CHUNK + self.n_other**2) if 1 - self.side in squares else 0.0
        return self.bytes(n_threads) + more

    def moment_seconds(self, n_threads, squares=()):
        """Reverse-mode products; products of the other layer's means where those are wanted."""
        seconds = 4 * self.seconds(n_threads)
        if 1 - self.side in squares:
            one = self.n_other / RATES["cgf"] + self.n_other**2 / RATES["cholesky"]
            seconds += work(self.n, one)
        return seconds

    def fitting(self, ratio):
        """Work doubles with each unit."""
        return fewer_units(self.n, ratio)

    def open(self, n_threads):
        if self.n > MOST:
            raise NotApplicable(f"method 'split' enumerates at most {MOST} units, got {self.n}")
        return core.Split(self.problem.rbm._core, self.side, n_threads)

    def run_engine(self, engine, run, indices, partials):
        engine.run(run.executor, self.problem.beta, indices, partials)

    def close(self, engine, run, partials):
        value, lost = merge(partials)
        # The engine's bound is that of its last call: the heaviest shard's, whatever the grouping.
        heaviest = partials["index"][[partials["exponent"].argmax()]]
        self.run_engine(engine, run, heaviest, np.zeros(1, core.PARTIAL))
        return rounded(value, engine.error_bound + lost)

    def moments(self, run, squares, heat):
        problem = self.problem
        engine = self.open(run.n_threads)
        n, m = problem.first.n, problem.second.n
        products, visible, hidden = np.empty((n, m)), np.empty(n), np.empty(m)
        own = np.empty((self.n, self.n)) if self.side in squares else None
        energy = np.empty(3) if heat else None
        log_z = engine.moments(run.executor, problem.beta, products, visible, hidden, own, energy)
        error = rounded(log_z, engine.error_bound).error
        found = {} if own is None else {self.side: own}
        if 1 - self.side in squares:
            found[1 - self.side] = self._other_squares(engine, run, log_z)
        mean = float(energy[0]) if heat else self._energy(visible, hidden, products)
        variance = float(energy[1]) if heat else None
        return Raw(log_z, error, visible, hidden, products, found, mean, variance)

    def _energy(self, visible, hidden, products):
        """Return <E> from the first moments: a Gaussian unit takes back half of what drives it."""
        problem = self.problem.oriented(self.side)
        own, other = (hidden, visible) if self.side else (visible, hidden)
        driven = float(np.vdot(self.problem.weights, products) + problem.second.bias @ other)
        if not problem.second.discrete:
            driven = 0.5 * (driven - problem.second.n / problem.beta)
        return -(float(problem.first.bias @ own) + driven)

    def _other_squares(self, engine, run, log_z):
        """Return <s_j s_k> of the other layer, whose units are independent given a state."""
        problem, beta = self.problem.oriented(self.side), self.problem.beta
        low, high = states(problem.first)
        layer, m = problem.second, problem.second.n
        total, spread, weight = np.zeros((m, m)), np.zeros(m), 0.0
        chunk = max(1, SQUARES_CHUNK // m)
        for first in range(0, self.n_states, chunk):
            logs = np.empty(min(chunk, self.n_states - first))
            engine.log_weights(run.executor, beta, first, logs)
            w = np.exp(logs - log_z)
            x = (low + (high - low) * bits(self.n, first, len(w))) @ problem.weights
            mean, variance = np.empty_like(x), np.empty_like(x)
            layer._core.mean(run.executor, x, beta, mean)
            layer._core.variance(x, beta, variance)
            total += (mean * w[:, None]).T @ mean
            spread += w @ variance
            weight += w.sum()
            run.advance(0.0, self)
        total[np.diag_indices(m)] += spread
        if layer.discrete and states(layer)[0] == -1:
            np.fill_diagonal(total, weight)
        return total / weight

    def draw(self, run, n, key):
        """Draw shards by their masses, states within them, the other side given those."""
        problem, engine = self.problem, self.open(run.n_threads)
        u = draws.uniforms(key, n)
        indices = np.arange(engine.n_shards, dtype=np.uint64)
        partials = self.run_shards(engine, run, indices)
        top = partials["exponent"].max()
        mass = partials["mantissa"] * np.exp(partials["exponent"] - top)
        numbers = np.empty(n, np.uint64)
        edges = np.cumsum(mass)
        u = u * edges[-1]
        shard = np.minimum(np.searchsorted(edges, u, side="right"), len(edges) - 1)
        per_shard = self.n_states // engine.n_shards
        for s in np.unique(shard):
            mine = np.flatnonzero(shard == s)
            left = edges[s - 1] if s else 0.0
            part = (u[mine] - left) / mass[s]
            numbers[mine] = self._within(engine, run, int(s) * per_shard, per_shard, part)
        layer = problem.second if self.side else problem.first
        low, high = states(layer)
        own = low + (high - low) * bits_of(numbers, self.n)
        other = draws.conditional(problem, 1 - self.side, own, key, run.executor)
        return (other, own) if self.side else (own, other)

    def _within(self, engine, run, first, count, part):
        """Return the state of each u in [0, 1) within states first .. first + count - 1."""
        chunks = range(first, first + count, CHUNK)

        def log_weights(start):
            out = np.empty(min(CHUNK, first + count - start))
            engine.log_weights(run.executor, self.problem.beta, start, out)
            return out

        kept = log_weights(first) if len(chunks) == 1 else None
        tops, sums = [], []
        for start in chunks:
            logs = log_weights(start) if kept is None else kept
            tops.append(float(logs.max()))
            sums.append(float(np.exp(logs - tops[-1]).sum()))
        edges = np.cumsum(np.array(sums) * np.exp(np.array(tops) - max(tops)))
        u = part * edges[-1]
        chunk = np.minimum(np.searchsorted(edges, u, side="right"), len(edges) - 1)
        found = np.empty(len(u), np.uint64)
        for c in np.unique(chunk):
            logs = log_weights(chunks[c]) if kept is None else kept
            inner = np.cumsum(np.exp(logs - max(tops)))
            mine = chunk == c
            at = np.searchsorted(inner, u[mine] - (edges[c - 1] if c else 0.0), side="right")
            found[mine] = chunks[c] + np.minimum(at, len(inner) - 1)
        return found
