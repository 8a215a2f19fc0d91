"""Variable elimination: exact sums over sparse models, 2^width instead of 2^n.

The vertices are the two-state units: both layers where both are discrete, with an edge where W is
not zero; against a Gaussian layer the discrete one alone, with the couplings that are left when the
Gaussian units are integrated (pairwise.py). Units are summed out one after the other; the tables
that contain a unit are added and give, by a log-sum-exp over it, one table over its neighbours.
The order is min-fill: next is the unit whose neighbours lack fewest edges (R. Dechter, Artificial
Intelligence 113, 1999; U. Kjaerulff, 1990). Tables are logarithms with their maxima taken out.

Means come from the reverse sweep (the adjoint of a table entry is its probability), products with
a unit from one more run with that unit held high, d/dbeta and its second derivative from tables of
derivatives carried along, draws from the tables in reverse order.

Error: a table entry is off by the sum of the bounds of the tables it was made of plus the rounding
of that step; each table is used once, so all steps add up to the bound of log Z.
"""

import dataclasses
import heapq
import math

import numpy as np

from . import draws
from .pairwise import reduced
from .plan import OVERHEAD, RATES, NotApplicable, Plan, Raw, Sum
from .problem import U_LONG, U, states

#: Wider tables have more axes than NumPy takes, and more bytes than memory.
WIDEST = 30
#: Up to this many table entries in long double: bounds 2,000 times smaller where it has 64 bits.
LONG_ENTRIES = 2**20
#: The search for an order ends where it has met this many pairs of neighbours: some seconds.
MOST_MET = 3e7
#: Tables of more axes are made in blocks, between which signals and the clock are looked at.
BLOCK_BITS = 21
#: Seconds of the search for an order, for each edge and neighbour of its two ends.
ORDERING = 1.3e-6
#: The log-weight of a state that is held out.
NEVER = -1e300


def plan(problem):
    """Return the plan of eliminating unit by unit.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm.evaluation.exact.elimination import plan
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> chain = np.eye(50) + np.eye(50, k=1)
    >>> rbm = fastrbm.RBM(fastrbm.Spin(50), fastrbm.Spin(50), weights=chain)
    >>> plan(Problem(rbm, 1.0)).width
    1
    """
    if not (problem.first.discrete or problem.second.discrete):
        raise NotApplicable("method 'elimination' needs a layer of discrete units")
    return EliminationPlan(problem)


def least_width(problem):
    """Return a lower bound on the width of any order, in O(n_visible n_hidden).

    A graph whose units have at least k neighbours each has width k or more, and so has one that
    contains it; units of few neighbours are peeled off. Gaussian units make cliques.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.elimination import least_width
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> least_width(Problem(fastrbm.RBM(fastrbm.Spin(50), fastrbm.Spin(30), rng=0), 1.0))
    30
    """
    coupled = problem.weights != 0
    if not problem.first.discrete:
        coupled = coupled.T
    if not (problem.first.discrete and problem.second.discrete):
        return max(0, int(coupled.sum(0).max()) - 1)
    rows, columns = coupled.sum(1), coupled.sum(0)
    bound = 0
    for _ in range(100):
        degrees = np.concatenate([rows[rows > 0], columns[columns > 0]])
        if not len(degrees):
            break
        bound = max(bound, int(degrees.min()))
        weak_rows, weak_columns = rows <= bound, columns <= bound
        coupled = coupled & ~weak_rows[:, None] & ~weak_columns
        rows, columns = coupled.sum(1), coupled.sum(0)
    return bound


def least_entries(problem):
    """Return a lower bound on the table entries of any order of usable width.

    One table of the least width; and where every unit of one layer has too many neighbours to be
    summed out, all but `WIDEST` of the other layer's go first, each with its own neighbours.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.elimination import least_entries
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> least_entries(Problem(fastrbm.RBM(fastrbm.Spin(130), fastrbm.Spin(20), rng=0), 1.0)) / 2**21
    100.0
    """
    bound = 2.0 ** min(least_width(problem) + 1, 1000)
    if problem.first.discrete and problem.second.discrete:
        coupled = problem.weights != 0
        for first, second in ((coupled.sum(1), coupled.sum(0)), (coupled.sum(0), coupled.sum(1))):
            if second[second > 0].min(initial=WIDEST + 1) > WIDEST:
                goes = np.sort(first[first > 0])[: max(0, np.count_nonzero(first) - WIDEST)]
                bound = max(bound, float(np.exp2(np.minimum(goes + 1.0, 1000)).sum()))
    return bound


def ordering_seconds(problem):
    """Return about how long the search for an order takes; sets of neighbours are met in Python.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.elimination import ordering_seconds
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> dense = fastrbm.RBM(fastrbm.Bernoulli(784), fastrbm.Bernoulli(20), rng=0)
    >>> ordering_seconds(Problem(dense, 1.0)) > 10
    True
    """
    coupled = problem.weights != 0
    if problem.first.discrete and problem.second.discrete:
        degrees = np.concatenate([coupled.sum(1), coupled.sum(0)])
    else:  # every Gaussian unit makes a clique of its neighbours
        coupled = coupled if problem.first.discrete else coupled.T
        degrees = coupled @ (coupled.sum(0) - 1)
    return ORDERING * float((degrees.astype(np.float64) ** 2).sum())


class EliminationPlan(Plan):
    """Summing out one unit at a time, in min-fill order."""

    name = "elimination"

    def __init__(self, problem):
        self.problem = problem
        self.both = problem.first.discrete and problem.second.discrete
        self.order, self.scopes, self.least = None, None, least_width(problem)
        if self.least <= WIDEST:
            self.order, self.scopes = min_fill(neighbours(problem), WIDEST)
        if self.order is None:  # no order was found; this many states at least
            self.width = max(self.least, WIDEST + 1)
            self.n_states = 2 ** (self.width + 1)
            self.n_states_word = "at least "
        else:
            self.width = max(map(len, self.scopes))
            self.n_states = sum(2 ** (len(scope) + 1) for scope in self.scopes)
        self.reason = f"couplings are sparse: no table of more than 2^{self.width} entries"

    @property
    def n(self):
        """int: Units that are summed out."""
        return len(self.order)

    def seconds(self, n_threads):
        """Table entries; more for units with many tables, fewer where entries are wide."""
        if self.order is None:
            return math.inf
        slow = 8 if self.n_states <= LONG_ENTRIES else 1
        return OVERHEAD + 5e-5 * self.n + slow * self.n_states / RATES["elimination"]

    def bytes(self, n_threads):
        """The largest table, those it is made of, and blocks at work."""
        return 8.0 * 4 * 2.0 ** min(self.width, 1000) + 1e6

    def moment_bytes(self, n_threads, squares=()):
        """All tables are kept, and two derivatives in one sweep."""
        return self.bytes(n_threads) * 3 + 16.0 * 2.0 ** min(self.n_states.bit_length(), 1000)

    def fitting(self, ratio):
        """Cost doubles with each step of width."""
        if math.isinf(ratio):
            return f"couplings of width {WIDEST} at most"
        return f"couplings of width {max(1, self.width - math.ceil(math.log2(ratio)))}"

    def moment_seconds(self, n_threads, squares=()):
        """A forward and a reverse sweep for each unit of one layer."""
        if self.order is None:
            return math.inf
        sizes = self.problem.first.n, self.problem.second.n
        runs = self.n if not self.both else sum(sizes[s] for s in squares) or min(sizes)
        return 4 * (runs + 1) * self.seconds(n_threads)

    # ----------------------------------------------------------------------------------- tables

    def factors(self, dtype):
        """Return [(units, table, bound)] of the model, d/dbeta of the tables, and the constant."""
        problem, beta = self.problem, np.longdouble(self.problem.beta)
        wide, roundings = [], 3.0
        if self.both:
            n = problem.first.n
            low = [states(layer) for layer in (problem.first, problem.second)]
            for side, layer in enumerate((problem.first, problem.second)):
                x = np.array(low[side], np.longdouble)
                for i, b in enumerate(layer.bias):
                    wide.append(((i + side * n,), beta * b * x, b * x))
            pair = np.outer(*(np.array(x, np.longdouble) for x in low))
            for i, j in np.argwhere(problem.weights != 0).tolist():
                w = problem.weights[i, j]
                wide.append(((i, j + n), beta * w * pair, w * pair))
            constant, constant_error = np.longdouble(0), 0.0
        else:
            pairs = reduced(problem)
            x = np.array([pairs.low, pairs.high], np.longdouble)
            wide = [((i,), b * x, b / beta * x) for i, b in enumerate(pairs.linear)]
            for i, j in np.argwhere(np.triu(pairs.coupling, 1) != 0).tolist():
                table = pairs.coupling[i, j] * np.outer(x, x)
                wide.append(((i, j), table, table / beta))
            constant, constant_error = pairs.constant, pairs.error
        u = U_LONG if dtype is np.longdouble else U
        found = [
            (units, table.astype(dtype), roundings * u * float(abs(table).max()))
            for units, table, _ in wide
        ]
        return found, [slope.astype(dtype) for _, _, slope in wide], constant, constant_error

    def forward(self, run, held=None, slopes=False, keep=False):
        """Sum out all units; return a `_Swept`.

        held : unit whose low state is given no weight.
        slopes : carry first and second derivatives with respect to beta along.
        keep : keep the tables, for the reverse sweep and for draws.
        """
        dtype = np.longdouble if self.n_states <= LONG_ENTRIES else np.float64
        u = U_LONG if dtype is np.longdouble else U
        factors, derivative, constant, error = self.factors(dtype)
        position = {unit: k for k, unit in enumerate(self.order)}
        buckets = [[] for _ in self.order]
        tables = []

        def add(table):
            tables.append(table)
            buckets[position[table.axes[0]]].append(len(tables) - 1)

        for (units, values, bound), first in zip(factors, derivative, strict=True):
            if held is not None and units == (held,):
                values = values + np.array([NEVER, 0], dtype)
            layers = [values, first, np.zeros_like(first)] if slopes else [values]
            if len(units) == 2 and position[units[0]] > position[units[1]]:
                units, layers = units[::-1], [layer.T for layer in layers]
            add(_Table(units, layers, bound))
        n_factors = len(tables)
        maxima, jet, steps = [], np.zeros(2), []
        for k, unit in enumerate(self.order):
            used = [tables[index] for index in buckets[k]]
            scope = (unit, *self.scopes[k])
            new, total = self._summed(run, scope, used, dtype, keep)
            sizes = sum(_size(table.layers[0]) for table in used)
            new.bound = sum(table.bound for table in used) + u * ((len(used) + 4) * sizes + 12)
            largest = new.layers[0].max()
            new.layers[0] = new.layers[0] - largest
            maxima.append(largest)
            if keep:
                steps.append((scope, total, tuple(buckets[k]), len(tables)))
            else:
                for index in buckets[k]:
                    tables[index] = None
            if new.axes:
                add(new)
                continue
            tables.append(None)
            error += new.bound
            if slopes:
                jet += [float(new.layers[1]), float(new.layers[2])]
        log_z = float(constant + sum(maxima))
        error += 6 * u * float(sum(map(abs, maxima))) + 8 * u * self.n + U * abs(log_z)
        axes = [None if table is None else table.axes for table in tables]
        return _Swept(log_z, error, steps, axes, n_factors, jet)

    def _summed(self, run, scope, used, dtype, keep):
        """Add tables and sum over the first unit of the scope, in blocks of the first neighbours.

        Returns the table over the neighbours, and the added one if it is to be kept.
        """
        k = len(scope) - 1
        fixed = max(0, k - BLOCK_BITS)
        n_layers = len(used[0].layers)
        layers = [np.empty((2,) * k, dtype) for _ in range(n_layers)]
        total = np.empty((2,) * (k + 1), dtype) if keep else None
        free = (scope[0], *scope[1 + fixed :])
        work = self.seconds(run.n_threads) * 2.0 ** (k + 1) / self.n_states
        for block in np.ndindex((2,) * fixed):
            held = dict(zip(scope[1 : 1 + fixed], block, strict=True))
            sums = [np.zeros((2,) * len(free), dtype) for _ in range(n_layers)]
            for table in used:
                index = tuple(held.get(unit, slice(None)) for unit in table.axes)
                shape = tuple(2 if unit in table.axes else 1 for unit in free)
                for both, layer in zip(sums, table.layers, strict=True):
                    both += layer[index].reshape(shape)
            zero, one = sums[0]
            new = np.maximum(zero, one) + np.log1p(np.exp(-abs(zero - one)))
            layers[0][block] = new
            if keep:
                total[(slice(None), *block)] = sums[0]
            if n_layers == 3:
                p = np.exp(one - new)
                step = sums[1][1] - sums[1][0]
                layers[1][block] = sums[1][0] + p * step
                second = sums[2][0] + p * (sums[2][1] - sums[2][0])
                layers[2][block] = second + p * (1 - p) * step**2
            run.advance(work / 2**fixed, self)
        return _Table(scope[1:], layers, 0.0), total

    # --------------------------------------------------------------------------------- protocol

    def log_partition(self, run):
        """Return log Z and its bound."""
        swept = self.forward(run)
        return Sum(swept.log_z, swept.error)

    def moments(self, run, squares, heat):
        """Return means by reverse sweeps; derivatives of log Z give the energy."""
        problem = self.problem
        swept = self.forward(run, slopes=True, keep=True)
        high = swept.marginals(self.n)
        n = problem.first.n
        if not self.both:
            return self._gaussian_moments(run, squares, swept, high)
        scale = [states(layer) for layer in (problem.first, problem.second)]
        mean = np.concatenate([_state(x, high[s]) for x, s in
                               zip(scale, (slice(0, n), slice(n, None)), strict=True)])  # fmt: skip
        # Hold the units of the smaller layer, and of a layer whose own products are wanted.
        sides = set(squares) or {int(problem.second.n <= n)}
        products, found = None, {}
        for side in sides:
            part = slice(n, None) if side else slice(0, n)
            others = slice(0, n) if side else slice(n, None)
            both = self._pairs(run, range(self.n)[part], high)
            x, y = scale[side], scale[1 - side]
            own = _pair_mean(x, x, high[part], high[part], both[:, part])
            np.fill_diagonal(own, 1.0 if x[0] == -1 else high[part])
            if side in squares:
                found[side] = own
            cross = _pair_mean(x, y, high[part], high[others], both[:, others])
            products = cross.T if side else cross
        return Raw(swept.log_z, swept.error, mean[:n], mean[n:], products, found,
                   -swept.jet[0], swept.jet[1])  # fmt: skip

    def _pairs(self, run, held, high):
        """Return P(unit and other both high), (len(held), n)."""
        rows = [high[j] * self.forward(run, held=j, keep=True).marginals(self.n) for j in held]
        return np.array(rows).reshape(len(rows), self.n)

    def _gaussian_moments(self, run, squares, swept, high):
        from .pairwise import joint_moments

        problem = self.problem
        gaussian_second = problem.first.discrete
        oriented = problem if gaussian_second else problem.swapped()
        x = states(oriented.first)
        both = _pair_mean(x, x, high, high, self._pairs(run, range(self.n), high))
        np.fill_diagonal(both, 1.0 if x[0] == -1 else high)
        squares = squares if gaussian_second else {1 - side for side in squares}
        raw = joint_moments(oriented, _state(x, high), both, squares, Sum(swept.log_z, swept.error),
                            -swept.jet[0], swept.jet[1])  # fmt: skip
        return raw if gaussian_second else raw.swapped()

    def draw(self, run, n, key):
        """Draw units in the reverse order of elimination, each given those drawn before."""
        swept = self.forward(run, keep=True)
        bits = np.zeros((self.n, n), np.int64)
        for scope, total, _, _ in reversed(swept.steps):
            u = draws.uniforms(draws.part_key(key, scope[0]), n)
            given = tuple(bits[unit] for unit in scope[1:])
            zero, one = total[(0, *given)], total[(1, *given)]
            bits[scope[0]] = u < _sigmoid(one - zero)
        problem = self.problem
        if self.both:
            n_first = problem.first.n
            return tuple(
                _state(states(layer), bits[part].T.astype(np.float64))
                for layer, part in (
                    (problem.first, slice(0, n_first)), (problem.second, slice(n_first, None)),
                )
            )  # fmt: skip
        side = 0 if problem.first.discrete else 1
        discrete = problem.second if side else problem.first
        own = _state(states(discrete), bits.T.astype(np.float64))
        other = draws.conditional(problem, 1 - side, own, key, run.executor)
        return (other, own) if side else (own, other)


@dataclasses.dataclass(slots=True)
class _Table:
    """A function of some units, in the order of their elimination, and a bound on its rounding.

    `layers` holds the logarithms and, where they are carried, two derivatives by beta.
    """

    axes: tuple
    layers: list
    bound: float


@dataclasses.dataclass(slots=True)
class _Swept:
    """What a forward sweep leaves: log Z, and the added tables in `steps` if they were kept."""

    log_z: float
    error: float
    steps: list
    axes: list
    n_factors: int
    jet: np.ndarray

    def marginals(self, n):
        """Return P(unit is high) of all units by the reverse sweep, (n,)."""
        weight = [None] * len(self.axes)
        high = np.zeros(n)
        for scope, total, used, made in reversed(self.steps):
            zero, one = total[0], total[1]
            p = _sigmoid(one - zero)
            above = 1.0 if len(scope) == 1 else weight[made]
            both = np.stack([(1 - p) * above, p * above])
            high[scope[0]] = float(both[1].sum())
            for index in used:
                if index >= self.n_factors:
                    axes = self.axes[index]
                    gone = tuple(a for a, unit in enumerate(scope) if unit not in axes)
                    weight[index] = both.sum(gone)
        return high


def _sigmoid(x):
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _state(x, high):
    """The mean state from the probability of the high one."""
    return x[0] + (x[1] - x[0]) * high


def _pair_mean(x, y, p, q, both):
    """<x y> from P(x high) (n,), P(y high) (m,), and P(both high) (n, m)."""
    dx, dy = x[1] - x[0], y[1] - y[0]
    return x[0] * y[0] + dx * y[0] * p[:, None] + x[0] * dy * q + dx * dy * both


def _size(values):
    """The largest entry, states held out aside."""
    size = abs(values)
    return float(size[size < -NEVER / 2].max(initial=0.0))


def neighbours(problem):
    """Return the graph of the discrete units as a list of sets.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.elimination import neighbours
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(2), weights=[[1, 0], [1, 0]])
    >>> neighbours(Problem(rbm, 1.0))
    [{2}, {2}, {0, 1}, set()]
    """
    coupled = problem.weights != 0
    if problem.first.discrete and problem.second.discrete:
        n = problem.first.n
        found = [set((np.flatnonzero(row) + n).tolist()) for row in coupled]
        return found + [set(np.flatnonzero(column).tolist()) for column in coupled.T]
    if not problem.first.discrete:
        coupled = coupled.T
    shared = coupled.astype(np.float32) @ coupled.T.astype(np.float32) > 0
    np.fill_diagonal(shared, False)
    return [set(np.flatnonzero(row).tolist()) for row in shared]


def min_fill(graph, most):
    """Return an elimination order and, for each of its units, the neighbours it then has.

    Those are in the order in which they will be eliminated. The graph is a list of sets. (None,
    None) where a unit comes to have more than `most` neighbours, or the search takes too long.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.elimination import min_fill
    >>> min_fill([{1}, {0, 2}, {1}], 2)
    ([0, 1, 2], [(1,), (2,), ()])
    >>> min_fill([{1, 2, 3}, {0, 2, 3}, {0, 1, 3}, {0, 1, 2}], 2)
    (None, None)
    """
    graph = [set(near) for near in graph]
    n_met = 0

    def fill(v):
        near = graph[v]
        return sum(len(near) - 1 - len(graph[a] & near) for a in near) // 2

    lacking = [fill(v) for v in range(len(graph))]
    heap = [(lacking[v], len(near), v) for v, near in enumerate(graph)]
    heapq.heapify(heap)
    gone, order, scopes = set(), [], []
    while heap:
        missing, degree, v = heapq.heappop(heap)
        near = graph[v]
        if v in gone or (missing, degree) != (lacking[v], len(near)):
            continue
        if degree > most or n_met > MOST_MET:
            return None, None
        gone.add(v)
        order.append(v)
        scopes.append(near)
        for a in near:
            graph[a].discard(v)
        if missing == 0:  # all neighbours know each other: each loses what v lacked beside it
            for a in near:
                lacking[a] -= len(graph[a]) - (degree - 1)
            changed = near
        else:
            changed = set(near)
            for a in near:
                for b in near - graph[a] - {a}:
                    changed |= graph[a] & graph[b]
                    graph[a].add(b)
                    graph[b].add(a)
            for a in changed:
                lacking[a] = fill(a)
                n_met += len(graph[a]) ** 2
        for a in changed:
            heapq.heappush(heap, (lacking[a], len(graph[a]), a))
    position = {unit: k for k, unit in enumerate(order)}
    return order, [tuple(sorted(scope, key=position.__getitem__)) for scope in scopes]
