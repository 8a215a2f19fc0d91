"""Structure of the couplings: units without any, and parts that do not touch.

W as a bipartite graph falls into connected components; log Z adds, means do not mix, products
across components are products of means. A unit without couplings contributes its cgf at input 0.
"""

import math

import numpy as np

from . import draws
from .plan import OVERHEAD, Plan, Raw, Sum
from .problem import U, states, take


def split(problem):
    """Return the units without couplings of both sides and the components of the others.

    Returns
    -------
    (ndarray, ndarray), list of (ndarray, ndarray)
        Unit numbers, first and second side.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> from fastrbm.evaluation.exact.structure import split
    >>> weights = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    >>> rbm = fastrbm.RBM(fastrbm.Spin(4), fastrbm.Spin(3), weights=weights)
    >>> free, parts = split(Problem(rbm, 1.0))
    >>> [unit.tolist() for unit in free]
    [[3], [2]]
    >>> [(first.tolist(), second.tolist()) for first, second in parts]
    [([0], [0]), ([1, 2], [1])]
    """
    coupled = problem.weights != 0
    rows, columns = coupled.any(1), coupled.any(0)
    free = np.flatnonzero(~rows), np.flatnonzero(~columns)
    if coupled[rows][:, columns].all():  # the usual case costs nothing more
        both = np.flatnonzero(rows), np.flatnonzero(columns)
        return free, [both] if len(both[0]) else []
    parts, left = [], rows.copy()
    while left.any():
        first = np.zeros(len(rows), bool)
        first[left.argmax()] = True
        second = np.zeros(len(columns), bool)
        edge = first
        while edge.any():
            reached = coupled[edge].any(0) & ~second
            second |= reached
            edge = coupled[:, reached].any(1) & ~first
            first |= edge
        left &= ~first
        parts.append((np.flatnonzero(first), np.flatnonzero(second)))
    return free, parts


class ComponentsPlan(Plan):
    """Units without couplings in closed form, and each component by a plan of its own.

    Parameters
    ----------
    problem : Problem
    free : (ndarray, ndarray)
        Units without couplings.
    parts : list of (ndarray, ndarray)
    plans : list of Plan
        One for each part, made for ``problem.part(*part)``.
    """

    def __init__(self, problem, free, parts, plans):
        self.problem, self.free, self.parts, self.plans = problem, free, parts, plans
        self.uses_blas = any(plan.uses_blas for plan in plans)
        self.gives_squares = bool(plans) and all(plan.gives_squares for plan in plans)
        n_free = len(free[0]) + len(free[1])
        self.n_states = sum(plan.n_states for plan in plans) + (not plans)
        self.name = plans[0].name if len(plans) == 1 else "components"
        if not plans:
            self.reason = "no couplings: every unit by itself"
            return
        words = [plans[0].reason]
        if len(plans) > 1:
            names = sorted({plan.name for plan in plans})
            words = [f"{len(plans)} parts of the model do not touch: {', '.join(names)}"]
        if n_free:
            words.append(f"{n_free} units without couplings in closed form")
        self.reason = "; ".join(words)

    def seconds(self, n_threads):
        """All parts, one after the other."""
        return OVERHEAD + sum(plan.seconds(n_threads) for plan in self.plans)

    def moment_seconds(self, n_threads, squares=()):
        """All parts, one after the other."""
        return OVERHEAD + sum(plan.moment_seconds(n_threads, squares) for plan in self.plans)

    def bytes(self, n_threads):
        """The largest part."""
        return max((plan.bytes(n_threads) for plan in self.plans), default=0.0)

    def moment_bytes(self, n_threads, squares=()):
        """The largest part."""
        parts = (plan.moment_bytes(n_threads, squares) for plan in self.plans)
        return max(parts, default=0.0)

    def fitting(self, ratio):
        """What would fit of the costliest part."""
        worst = max(self.plans, key=lambda plan: plan.seconds(1))
        return f"in its largest part, {worst.fitting(ratio)}"

    def _free_layers(self):
        for side, layer in enumerate((self.problem.first, self.problem.second)):
            if len(self.free[side]):
                yield side, take(layer, self.free[side])

    def log_partition(self, run):
        """Return the sum over parts and units, and the sum of their bounds."""
        sums = [plan.log_partition(run) for plan in self.plans]
        values, error = [s.value for s in sums], math.fsum(s.error for s in sums)
        for _, layer in self._free_layers():
            cgf = layer.cgf(0.0, beta=self.problem.beta)
            values += cgf.tolist()
            # Each within a few roundings of the terms it is made of.
            sizes = abs(cgf) + 2 + self.problem.beta * abs(layer.bias)
            if not layer.discrete:
                sizes += abs(np.log(self.problem.beta * layer.precision))
            error += 24 * U * math.fsum(sizes)
        value = math.fsum(values)
        return Sum(value, error + U * abs(value))

    def moments(self, run, squares, heat):
        """Put the parts' moments together."""
        problem, beta = self.problem, self.problem.beta
        raws = [plan.moments(run, squares, heat) for plan in self.plans]
        means = [np.zeros(problem.first.n), np.zeros(problem.second.n)]
        energy, variance = sum(r.energy for r in raws), 0.0
        variance = None if any(r.energy_variance is None for r in raws) else math.fsum(
            r.energy_variance for r in raws
        )  # fmt: skip
        for raw, part in zip(raws, self.parts, strict=True):
            for mean, value, units in zip(means, (raw.first, raw.second), part, strict=True):
                mean[units] = value
        log_z = math.fsum(r.log_z for r in raws)
        error = math.fsum(r.error for r in raws)
        own_square = {}
        for side, layer in self._free_layers():
            x = np.zeros(layer.n)
            mean, spread = layer.mean(x, beta=beta), layer.variance(x, beta=beta)
            cgf = layer.cgf(x, beta=beta)
            log_z += math.fsum(cgf)
            error += 24 * U * math.fsum(abs(cgf) + 2 + beta * abs(layer.bias))
            means[side][self.free[side]] = mean
            own_square[side] = mean**2 + spread
            if layer.discrete:
                energy -= float(layer.bias @ mean)
                own_variance = float(layer.bias**2 @ spread)
            else:
                energy += 0.5 * layer.n / beta - 0.5 * float(layer.bias @ mean)
                own_variance = 0.5 * layer.n / beta**2
            variance = None if variance is None else variance + own_variance
        products = np.outer(*means)
        found = {side: np.outer(means[side], means[side]) for side in squares}
        for raw, part in zip(raws, self.parts, strict=True):
            products[np.ix_(*part)] = raw.products
            for side in squares:
                found[side][np.ix_(part[side], part[side])] = raw.squares[side]
        for side in squares:
            if side in own_square:
                found[side][self.free[side], self.free[side]] = own_square[side]
            layer = (problem.first, problem.second)[side]
            if layer.discrete and states(layer)[0] == -1:
                np.fill_diagonal(found[side], 1.0)
        return Raw(log_z, error, *means, products, found, float(energy), variance)

    def draw(self, run, n, key):
        """Draw each part with a key of its own."""
        problem = self.problem
        out = np.empty((n, problem.first.n)), np.empty((n, problem.second.n))
        for k, (plan, part) in enumerate(zip(self.plans, self.parts, strict=True)):
            drawn = plan.draw(run, n, draws.part_key(key, k))
            for whole, some, units in zip(out, drawn, part, strict=True):
                whole[:, units] = some
        free = problem.part(*self.free) if len(self.free[0]) and len(self.free[1]) else None
        key = draws.part_key(key, len(self.plans))
        for side, layer in self._free_layers():
            if free is not None:
                given = np.zeros((n, len(self.free[1 - side])))
                other = (free.second, free.first)[side]
                if other.discrete:
                    given += states(other)[0]
                out[side][:, self.free[side]] = draws.conditional(free, side, given, key,
                                                                  run.executor)  # fmt: skip
            else:
                x = np.zeros((n, layer.n))
                out[side][:, self.free[side]] = layer.sample(
                    x, draws.part_key(key, side) & (2**63 - 1), beta=problem.beta
                )
        return out
