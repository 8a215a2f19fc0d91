"""Two Gaussian layers: log Z, moments and draws from a Cholesky factor.

With x = (v, h), bias b and joint precision L = [[P, -W], [-W^T, Q]], P and Q diagonal,

    log Z = (n/2) log(2 pi / beta) - (1/2) log det L + (beta/2) b^T L^-1 b.

Units are scaled to precision one, A = P^(-1/2) W Q^(-1/2), and the larger layer is eliminated:
det L = det P det Q det S with S = 1 - A^T A, of the size of the smaller layer.

Error: S and its factor R R^T are those of a matrix S + dS with |dS| <= D, an elementwise bound on
the rounding of S and, by Higham's backward analysis (Accuracy and Stability, theorem 10.3), of the
factorisation, gamma_{m+1} |R| |R^T|. With eta the Frobenius norm of |R^-1| D |R^-T|,
|log det error| <= sqrt(m) eta / (1 - eta), and the quadratic form is off by at most eta / (1 - eta)
of itself.
"""

import math

import numpy as np

from . import draws
from .plan import OVERHEAD, RATES, NotApplicable, Plan, Raw, Sum
from .problem import U_LONG, U

#: Multiply-adds up to which S is formed in long double: its rounding is then that of float64.
LONG_WORK = 2e8
#: Beyond this eta the bound says nothing.
LARGEST_ETA = 0.1


def plan(problem):
    """Return the plan of two Gaussian layers.

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation.exact.gaussian import plan
    >>> from fastrbm.evaluation.exact.problem import Problem
    >>> layers = fastrbm.Gaussian(2), fastrbm.Gaussian(1)
    >>> plan(Problem(fastrbm.RBM(*layers, weights=[[0.5], [0.1]]), 1.0)).n_states
    1
    """
    if problem.first.discrete or problem.second.discrete:
        raise NotApplicable("method 'gaussian' needs two Gaussian layers")
    return GaussianPlan(problem)


class GaussianPlan(Plan):
    """The closed form of a joint Gaussian law."""

    name = "gaussian"
    reason = "both layers are Gaussian: closed form by a Cholesky factor"
    n_states = 1

    def __init__(self, problem):
        self.problem = problem
        self.swap = problem.first.n < problem.second.n
        self.n, self.m = sorted((problem.first.n, problem.second.n), reverse=True)

    def seconds(self, n_threads):
        """Forming S, its factor, and the factor's inverse."""
        long = 20.0 if self.n * self.m**2 <= LONG_WORK else 1.0
        flops = self.n * self.m**2 * long + 3 * self.m**3
        return OVERHEAD + flops / RATES["cholesky"]

    def bytes(self, n_threads):
        """A, twice as wide, and a handful of matrices of the size of S."""
        return 8.0 * (3 * self.n * self.m + 8 * self.m**2)

    def fitting(self, ratio):
        """Cost goes with the square of the smaller layer."""
        return f"a smaller layer of at most {max(1, int(self.m / math.sqrt(ratio)))} units"

    def log_partition(self, run):
        """Return log Z and its bound."""
        return _Solved(self).log_partition()

    def moments(self, run, squares, heat):
        """Return all moments in closed form."""
        solved = _Solved(self)
        raw = solved.moments(squares)
        return raw.swapped() if self.swap else raw

    def draw(self, run, n, key):
        """Draw the smaller layer from its marginal, the larger from its conditional."""
        solved = _Solved(self)
        problem = solved.problem
        scatter = solved.solve_transposed(draws.normals(key, (n, self.m)).T).T
        scatter /= math.sqrt(problem.beta)
        h = (solved.mean_h + scatter) / np.sqrt(problem.second.precision)
        v = draws.conditional(problem, 0, h, key, run.executor)
        return (h, v) if self.swap else (v, h)


class _Solved:
    """The factor of S and what follows from it; the larger layer is the first."""

    def __init__(self, plan):
        from scipy.linalg import solve_triangular

        self.problem = problem = plan.problem.swapped() if plan.swap else plan.problem
        n, m = self.shape = plan.n, plan.m
        wide = np.longdouble if n * m * m <= LONG_WORK else np.float64
        u = U_LONG if wide is np.longdouble else U
        p = np.sqrt(problem.first.precision.astype(wide))
        q = np.sqrt(problem.second.precision.astype(wide))
        a = problem.weights / p[:, None] / q
        bias_v, bias_h = problem.first.bias / p, problem.second.bias / q
        s = (np.eye(m) - a.T @ a).astype(np.float64)
        size = (np.eye(m) + abs(a).T @ abs(a)).astype(np.float64)
        try:
            r = np.linalg.cholesky(s)
        except np.linalg.LinAlgError:
            raise NotApplicable(
                "the joint precision is too close to singular for float64: reduce the weights or "
                "raise the precisions"
            ) from None
        self.a, self.bias_v = a.astype(np.float64), bias_v.astype(np.float64)
        self.r = r
        self.solve = lambda b: solve_triangular(r, b, lower=True)
        self.solve_transposed = lambda b: solve_triangular(r, b, lower=True, trans="T")
        c_wide = bias_h + a.T @ bias_v
        self.c = c_wide.astype(np.float64)
        self.y = self.solve(self.c)
        self.mean_h = self.solve_transposed(self.y)
        # The bound.
        d = (n + 8) * u * size + U * abs(s) + (3 * m + 8) * U * (abs(r) @ abs(r).T)
        inverse = abs(self.solve(np.eye(m)))
        self.eta = 1.01 * float(np.linalg.norm(inverse @ d @ inverse.T))
        if not self.eta < LARGEST_ETA:
            raise NotApplicable(
                "the joint precision is too close to singular for float64: reduce the weights or "
                "raise the precisions"
            )
        size_c = (abs(bias_h) + abs(a).T @ abs(bias_v)).astype(np.float64)
        self.error_c = (n + 8) * u * size_c + U * abs(self.c)
        self.wide = wide

    def quadratic(self):
        """b^T L^-1 b and its bound."""
        base = float((self.bias_v.astype(self.wide) ** 2).sum())
        value = float(self.y @ self.y)
        n, m = self.shape
        error = value * (1.1 * self.eta + (m + 4) * U) + (n + 6) * U * base
        error += 2.1 * float(abs(self.mean_h) @ self.error_c)
        return base + value, error + U * (base + value)

    def log_partition(self):
        problem, beta = self.problem, self.problem.beta
        n, m = self.shape
        precision = np.concatenate([problem.first.precision, problem.second.precision])
        logs = np.concatenate([-0.5 * np.log(precision), -np.log(np.diag(self.r))])
        constant = 0.5 * (n + m) * math.log(2 * math.pi / beta)
        quadratic, quadratic_error = self.quadratic()
        value = math.fsum([constant, *logs, 0.5 * beta * quadratic])
        error = 0.5 * math.sqrt(m) * self.eta / (1 - self.eta) + 0.5 * beta * quadratic_error
        error += 8 * U * (abs(constant) + float(abs(logs).sum()) + n + m)
        error += 4 * U * (0.5 * beta * quadratic + abs(value))
        return Sum(value, error)

    def moments(self, squares):
        problem, beta = self.problem, self.problem.beta
        n, m = self.shape
        log_z = self.log_partition()
        p, q = np.sqrt(problem.first.precision), np.sqrt(problem.second.precision)
        mean_h, mean_v = self.mean_h, self.bias_v + self.a @ self.mean_h
        factor = self.solve(np.eye(m))
        cov_h = factor.T @ factor / beta
        cov_vh = self.a @ cov_h
        second = {}
        if 1 in squares:
            second[1] = (cov_h + np.outer(mean_h, mean_h)) / np.outer(q, q)
        if 0 in squares:
            cov_v = np.eye(n) / beta + cov_vh @ self.a.T
            second[0] = (cov_v + np.outer(mean_v, mean_v)) / np.outer(p, p)
        return Raw(
            log_z.value, log_z.error, mean_v / p, mean_h / q,
            (cov_vh + np.outer(mean_v, mean_h)) / np.outer(p, q), second,
            0.5 * (n + m) / beta - 0.5 * self.quadratic()[0], 0.5 * (n + m) / beta**2,
        )  # fmt: skip
