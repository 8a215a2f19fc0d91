"""Quadrature over 1 to 3 Gaussian units, on either side, against any number of discrete ones.

With the discrete side summed out the Gaussian one has the density exp(g(x)),

    g(x) = sum_mu beta (b_mu x_mu - gamma_mu x_mu^2 / 2) + sum_i cgf_i(sum_mu W_mu,i x_mu),

a mixture of Gaussians, one a state of the discrete side, all of variance 1 / (beta gamma_mu). The
trapezoid rule of step h_mu = d / sqrt(beta gamma_mu) integrates each of them with the relative
error 2 sum_m exp(-2 pi^2 m^2 / d^2) (Poisson's formula; L. N. Trefethen and J. A. C. Weideman,
SIAM Review 56, 2014), so the mixture too, whatever the number of units: d = 0.7 gives 6e-18.

Cells: g(x) + sum_mu beta gamma_mu x_mu^2 / 2 is convex, so that in a box g is at most its largest
value at the corners plus sum_mu beta gamma_mu L_mu^2 / 8, L the sides. Boxes that hold less than
1e-17 of the mass by this bound are left out, the others are halved; what was left out is added up
and stands in the error. Beyond the outermost means by TAIL standard deviations lies less than
OUTSIDE of the mass in each direction.
"""

import itertools
import math

import numpy as np

from . import draws
from .plan import NotApplicable
from .problem import U_LONG, U, states
from .statesum import Rows, StateSum

#: Most Gaussian units.
MOST = 3
#: Steps in standard deviations of a component, and the error they leave in each direction.
STEP = 0.7
DISCRETISATION = 2.0 * math.exp(-2 * math.pi**2 / STEP**2) * 1.01
TAIL = 9.5
OUTSIDE = 1e-19
#: What is left out altogether stays below this part of the mass.
LEFT_OUT = 1e-17
#: Boxes are halved down to this many steps a side; up to DIRECT cgfs nothing is searched.
LEAF = 4
DIRECT = 2e6
#: More boxes than this are not halved any further.
MOST_BOXES = 200_000
#: Beyond this many steps a side the grid has no exact floating-point positions.
LONGEST = 2**40


def plan(problem, side):
    """Return the plan that integrates the Gaussian units of one side on a grid.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> from fastrbm.evaluation.exact.quadrature import plan
    >>> rbm = fastrbm.RBM(fastrbm.Spin(100), fastrbm.Gaussian(1), weights=np.ones((100, 1)) / 10)
    >>> plan(Problem(rbm, 1.0), 1).n_states
    59
    """
    layer, other = (problem.first, problem.second)[:: -1 if side else 1]
    if layer.discrete or not other.discrete:
        raise NotApplicable("method 'quadrature' needs a Gaussian layer against a discrete one")
    if layer.n > MOST:
        raise NotApplicable(
            f"method 'quadrature' takes at most {MOST} Gaussian units, got {layer.n}"
        )
    return QuadraturePlan(problem.oriented(side), side == 1)


class QuadraturePlan(StateSum):
    """A grid over the first side; the fields are the weights, the coefficients the places."""

    name = "quadrature"

    def __init__(self, problem, swap):
        self.problem, self.swap = problem, swap
        layer, other, beta = problem.first, problem.second, problem.beta
        self.fields, self.field_sizes = problem.weights, abs(problem.weights)
        self.reason = (
            f"{layer.n} Gaussian unit{'s' * (layer.n > 1)}: a grid is exact to rounding whatever "
            "the number of discrete units"
        )
        sd = 1 / np.sqrt(beta * layer.precision)
        self.h = np.array([_short(STEP * s) for s in sd])
        low, high = states(other)
        at = problem.weights * low, problem.weights * high
        least = (layer.bias + np.minimum(*at).sum(1)) / layer.precision - TAIL * sd
        most = (layer.bias + np.maximum(*at).sum(1)) / layer.precision + TAIL * sd
        with np.errstate(over="ignore"):
            self.begin = np.floor(least / self.h) - 1
            self.count = np.ceil(most / self.h) + 2 - self.begin
        if not (abs(self.begin) + self.count < LONGEST).all():
            raise NotApplicable("method 'quadrature' needs smaller weights: its grid is too long")
        self.full = float(np.prod(self.count))
        self.constant = math.fsum(np.log(self.h))
        self.constant_error = 4 * U * float(abs(np.log(self.h)).sum())
        self._boxes, self.left_out = None, 0.0

    @property
    def n_states(self):
        """int: Points of the grid that are summed, corners of the search not counted."""
        starts, side = self.boxes()
        return int(np.prod(self.count)) if starts is None else len(starts) * side**self.dim

    @property
    def dim(self):
        """int: The number of Gaussian units."""
        return self.problem.first.n

    def fitting(self, ratio):
        """The grid's length goes with the weights, its cost with the discrete units."""
        return f"weights smaller by a factor of about {ratio ** (1 / self.dim):.2g}"

    # --------------------------------------------------------------------------------- the cells

    def boxes(self):
        """Return the lowest corners (m, dim) of the boxes that hold mass and their side in steps.

        (None, 0) where the whole grid is small enough to be summed without a search.
        """
        if self._boxes is None:
            if self.full * self.problem.second.n <= DIRECT:
                self._boxes = None, 0
            else:
                self._boxes = self._search()
        return self._boxes

    def _search(self):
        from ... import _lib

        executor = _lib.executor()
        side = 2 ** max(2, math.ceil(math.log2(self.count.max() / 4)))
        starts = _lattice(self.begin, np.ceil(self.count / side), side)
        corners = np.array(list(itertools.product((0, 1), repeat=self.dim)))
        best, left_out = -math.inf, []
        while True:
            places, index = np.unique(
                (starts[:, None] + side * corners).reshape(-1, self.dim), axis=0,
                return_inverse=True,
            )  # fmt: skip
            values, errors = self._at(places, executor)
            best = max(best, float((values - errors).max()))
            upper = (values + errors)[index.reshape(len(starts), -1)].max(1)
            upper += self.dim * (side * STEP) ** 2 / 8 + self.dim * math.log(side)
            hopeless = upper < best + math.log(LEFT_OUT) - math.log(MOST_BOXES) - 3
            left_out.append(upper[hopeless])
            starts = starts[~hopeless]
            if side == LEAF or len(starts) * 2**self.dim > MOST_BOXES:
                break
            side //= 2
            starts = (starts[:, None] + side * corners).reshape(-1, self.dim)
        lost = np.concatenate(left_out)
        self.left_out = math.fsum(np.exp(np.maximum(lost - best, -800.0)))
        order = np.lexsort(starts.T[::-1])
        return starts[order], side

    def _at(self, index, executor):
        """Return g and its bound at points of the grid."""
        n = self.block_rows()
        values, errors = np.empty(len(index)), np.empty(len(index))
        for first in range(0, len(index), n):
            part = slice(first, first + n)
            values[part], errors[part], _ = self.exponents(self._rows(index[part]), executor)
        return values, errors

    def _rows(self, index):
        x = index * self.h  # exact: h has few bits
        layer, beta = self.problem.first, self.problem.beta
        wide = x.astype(np.longdouble)
        quadratic = wide * wide * layer.precision / 2
        linear = wide * layer.bias
        own = (linear - quadratic).sum(1)
        sizes = (abs(linear) + quadratic).sum(1).astype(np.float64)
        errors = (self.dim + 5) * U_LONG * beta * sizes
        return Rows(x, beta * own, errors, own.astype(np.float64))

    def rows(self, run):
        """Yield the points of the grid, box by box."""
        starts, side = self.boxes()
        n = self.block_rows()
        if starts is None:
            total = int(np.prod(self.count))
            shape = tuple(self.count.astype(int))
            for first in range(0, total, n):
                index = np.arange(first, min(first + n, total))
                yield self._rows(np.stack(np.unravel_index(index, shape), axis=1) + self.begin)
            return
        inner = _lattice(np.zeros(self.dim), np.full(self.dim, side), 1)
        per_block = max(1, n // len(inner))
        for first in range(0, len(starts), per_block):
            points = starts[first : first + per_block, None] + inner
            for part in range(0, points.shape[0] * len(inner), n):
                yield self._rows(points.reshape(-1, self.dim)[part : part + n])

    def more_error(self, total):
        """The step, what lies beyond the grid, and the boxes left out (relative to the best)."""
        return 1.01 * self.dim * (DISCRETISATION + OUTSIDE) + 1.01 * self.left_out

    # ------------------------------------------------------------------------- moments and draws

    def first_means(self, mean):
        return mean

    def first_products(self, mean, cross, other):
        return cross

    def first_squares(self, mean, square):
        return square

    def states_of(self, run, chosen, key):
        """The other side given places, then the Gaussian side anew given the other.

        The sum over the grid of each component equals its integral, so that a state of the discrete
        side is drawn from its exact law although the places are discrete.
        """
        second = draws.conditional(self.problem, 1, chosen, key, run.executor)
        return draws.conditional(self.problem, 0, second, key, run.executor), second


def _short(h):
    """Return h rounded down to 8 bits, so that whole multiples are exact."""
    fraction, power = math.frexp(h)
    return math.ldexp(math.floor(fraction * 256), power - 8)


def _lattice(begin, count, step):
    """Return all points begin + step k with k below count, (m, dim)."""
    axes = [b + step * np.arange(int(c)) for b, c in zip(begin, count, strict=True)]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
