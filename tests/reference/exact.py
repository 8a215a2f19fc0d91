"""Small models by enumeration of discrete layers and quadrature of Gaussian ones.

A layer becomes a `Grid`: points with a measure, each in one cell. Discrete layers have every joint
state as a point and as a cell; Gaussian layers a composite Gauss-Legendre rule whose pieces are
the cells. log Z, the joint law, transition matrices and gradients are then sums over points.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from scipy.special import logsumexp, ndtr

from .layers import Discrete, Gaussian

N_NODES = 48  # Gauss-Legendre nodes a cell; sums of smooth densities over <= 12 sd agree to 1e-13
TAIL = 9.0  # the outermost cells end this many standard deviations out: P < 1e-18


@dataclass(frozen=True, eq=False)
class Model:
    """E(v, h) = - v W h - sum_i a_i(v_i) - sum_mu b_mu(h_mu)."""

    visible: Discrete | Gaussian
    hidden: Discrete | Gaussian
    weights: np.ndarray

    def energy(self, v, h):
        coupling = np.einsum("...i,ij,...j->...", v, self.weights, h)
        log_weights = self.visible.log_weight(v).sum(-1) + self.hidden.log_weight(h).sum(-1)
        return -coupling - log_weights

    def free_energy(self, v, beta=1.0):
        """-log of the integral over h of exp(-beta E)."""
        cgf = self.hidden.cgf(v @ self.weights, beta).sum(-1)
        return -beta * self.visible.log_weight(v).sum(-1) - cgf

    def mean_hidden(self, v, beta=1.0):
        return self.hidden.mean(v @ self.weights, beta)

    def mean_visible(self, h, beta=1.0):
        return self.visible.mean(h @ self.weights.T, beta)

    def clamped(self, clamp, values):
        """The model of the units that are free when the others are held at `values`."""
        free = ~np.asarray(clamp)
        field = np.asarray(values)[clamp] @ self.weights[clamp]
        return Model(take(self.visible, free), _shift_bias(self.hidden, field), self.weights[free])

    def swapped(self):
        """The same law with the two sides' names exchanged."""
        return Model(self.hidden, self.visible, self.weights.T)


def take(layer, units):
    if isinstance(layer, Discrete):
        return Discrete(layer.values, layer.bias[units])
    return Gaussian(layer.bias[units], layer.precision[units])


def _shift_bias(layer, shift):
    if isinstance(layer, Discrete):
        return Discrete(layer.values, layer.bias + shift)
    return Gaussian(layer.bias + shift, layer.precision)


@dataclass(frozen=True)
class Grid:
    """points (m, n) with log-measures (m,), and the cell (m,) of each of n_cells."""

    points: np.ndarray
    log_measure: np.ndarray
    cell: np.ndarray
    n_cells: int
    edges: np.ndarray | None  # (n, cells a unit - 1) of a continuous layer
    values: tuple | None  # of a discrete layer

    def cells_of(self, states):
        """The cell of each state (..., n)."""
        states = np.asarray(states)
        if self.edges is None:
            digits = (states == self.values[1]).astype(np.int64)
            return digits @ (2 ** np.arange(states.shape[-1])[::-1])
        base = self.edges.shape[1] + 1
        code = np.zeros(states.shape[:-1], np.int64)
        for unit, edges in enumerate(self.edges):
            code = code * base + np.searchsorted(edges, states[..., unit])
        return code

    def sum_cells(self, values, axis):
        """Add up an array over the points of each cell."""
        if self.edges is None:
            return values  # every point is a cell
        order = np.argsort(self.cell, kind="stable")
        first = np.searchsorted(self.cell[order], np.arange(self.n_cells))
        return np.add.reduceat(np.take(values, order, axis), first, axis)


def all_states(values, n):
    """Every joint state of n units, (len(values)^n, n), the last unit fastest."""
    return np.array(list(product(values, repeat=n)), float).reshape(-1, n)


def discrete_grid(layer):
    points = all_states(layer.values, layer.n)
    index = np.arange(len(points))
    return Grid(points, np.zeros(len(points)), index, len(points), None, layer.values)


def gaussian_grid(layer, other, weights, beta, n_cells=4):
    """Cells at quantiles of the layer's exact marginal, a mixture over the other, discrete side."""
    states = discrete_grid(other).points
    means = layer.mean(states @ weights.T)  # (states, n)
    sd = np.sqrt(layer.variance(means, beta)[0])
    # The weight of a state of the other side: its log-weight times the integral over this side.
    log_w = beta * other.log_weight(states).sum(-1) + layer.cgf(states @ weights.T, beta).sum(-1)
    w = np.exp(log_w - logsumexp(log_w))
    nodes, node_weights = np.polynomial.legendre.leggauss(N_NODES)
    edges, axes, masses, cells = [], [], [], []
    for unit in range(layer.n):
        low, high = means[:, unit].min() - TAIL * sd[unit], means[:, unit].max() + TAIL * sd[unit]
        fine = np.linspace(low, high, 20001)
        cdf = w @ ndtr((fine - means[:, unit, None]) / sd[unit])
        inner = np.interp(np.arange(1, n_cells) / n_cells, cdf, fine)
        bounds = np.concatenate([[low], inner, [high]])
        half = np.diff(bounds) / 2
        axes.append(((bounds[:-1] + half)[:, None] + half[:, None] * nodes).ravel())
        masses.append(np.log(half[:, None] * node_weights).ravel())
        cells.append(np.repeat(np.arange(n_cells), N_NODES))
        edges.append(inner)
    points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)
    log_measure = sum(np.meshgrid(*masses, indexing="ij")).ravel()
    cell = np.zeros(len(points), np.int64)
    for unit_cells in np.meshgrid(*cells, indexing="ij"):
        cell = cell * n_cells + unit_cells.ravel()
    return Grid(points, log_measure, cell, n_cells**layer.n, np.array(edges), None)


@lru_cache(maxsize=32)
def solve(model, beta=1.0):
    """The Exact of a model, kept for the next test that needs it."""
    return Exact(model, beta)


class Exact:
    """Everything about one model with at least one discrete layer, at one beta."""

    def __init__(self, model, beta=1.0):
        self.model, self.beta = model, beta
        v, h = model.visible, model.hidden
        self.v = (
            discrete_grid(v)
            if isinstance(v, Discrete)
            else gaussian_grid(v, h, model.weights, beta)
        )
        self.h = (
            discrete_grid(h)
            if isinstance(h, Discrete)
            else gaussian_grid(h, v, model.weights.T, beta)
        )

    @cached_property
    def log_terms(self):
        """-beta E plus both log-measures, (v points, h points)."""
        coupling = self.v.points @ self.model.weights @ self.h.points.T
        a = self.model.visible.log_weight(self.v.points).sum(-1)
        b = self.model.hidden.log_weight(self.h.points).sum(-1)
        minus_energy = coupling + a[:, None] + b
        return self.beta * minus_energy + self.v.log_measure[:, None] + self.h.log_measure

    @cached_property
    def log_z(self):
        return logsumexp(self.log_terms)

    @cached_property
    def joint(self):
        """p(v, h) times the measures, (v points, h points)."""
        return np.exp(self.log_terms - self.log_z)

    @cached_property
    def h_given_v(self):
        """(v points, h points), rows sum to one."""
        return np.exp(self.log_terms - logsumexp(self.log_terms, axis=1, keepdims=True))

    @cached_property
    def v_given_h(self):
        """(h points, v points), rows sum to one."""
        return np.exp(self.log_terms - logsumexp(self.log_terms, axis=0, keepdims=True)).T

    @cached_property
    def transition(self):
        """One sweep on the visible points: T[v, v'] = sum_h p(h | v) p(v' | h)."""
        return self.h_given_v @ self.v_given_h

    def hidden_law(self, v):
        """p(h | v) on the h points for any real v (n_visible,)."""
        log_p = self.beta * (
            self.h.points @ (np.asarray(v) @ self.model.weights)
            + self.model.hidden.log_weight(self.h.points).sum(-1)
        )
        log_p += self.h.log_measure
        return np.exp(log_p - logsumexp(log_p))

    def visible_law(self, v, n_sweeps):
        """The law of the visible points n_sweeps >= 1 sweeps after v."""
        return self._hidden_law_before(v, n_sweeps) @ self.v_given_h

    def _hidden_law_before(self, v, n_sweeps):
        h_law = self.hidden_law(v)
        for _ in range(n_sweeps - 1):
            h_law = (h_law @ self.v_given_h) @ self.h_given_v
        return h_law

    def joint_cells(self):
        """The stationary law on (v, h) cells."""
        return self.h.sum_cells(self.v.sum_cells(self.joint, 0), 1)

    def joint_cells_after(self, v, n_sweeps):
        """The law of the (v, h) cells of a draw n_sweeps >= 1 sweeps after v.

        The h of a draw is the one its v was drawn given.
        """
        joint = (self._hidden_law_before(v, n_sweeps)[:, None] * self.v_given_h).T
        return self.h.sum_cells(self.v.sum_cells(joint, 0), 1)


def contrastive_divergence(model, data, k, starts=None, statistics="means"):
    """The expected CD-k (or PCD) gradient, and the variance of one chain's part of it.

    data (m, n_visible): rows of equal weight, values or, for Bernoulli units, probabilities.
    starts (s, n_visible): where equally many chains start; the data by default.
    Returns two dicts with keys weights, visible_bias, hidden_bias.
    """
    exact = solve(model)
    laws = np.array([_law_after_draw(exact, v, k) for v in (data if starts is None else starts)])
    v = exact.v.points
    h = model.mean_hidden(v)
    h_square = h**2
    if statistics == "samples":
        h_square = h_square + model.hidden.variance(v @ model.weights)
    # First and second moments of one chain's statistics, for each start: (starts, ...).
    first = {
        "weights": np.einsum("sp,pi,pj->sij", laws, v, h),
        "visible_bias": laws @ v,
        "hidden_bias": laws @ h,
    }
    second = {
        "weights": np.einsum("sp,pi,pj->sij", laws, v**2, h_square),
        "visible_bias": laws @ v**2,
        "hidden_bias": laws @ h_square,
    }
    h_data = model.mean_hidden(data)
    data_term = {
        "weights": data.T @ h_data / len(data),
        "visible_bias": data.mean(0),
        "hidden_bias": h_data.mean(0),
    }
    gradient = {name: data_term[name] - first[name].mean(0) for name in first}
    return gradient, {name: (second[name] - first[name] ** 2).mean(0) for name in first}


def _law_after_draw(exact, start, k):
    """The law of v_k when chain starts at `start`, drawn first where it is a probability."""
    states = getattr(exact.model.visible, "values", None)
    if states is None or np.isin(start, states).all():
        return exact.visible_law(start, k)
    ones = exact.v.points
    weights = np.prod(np.where(ones == 1, start, 1 - start), axis=1)
    return weights @ np.array([exact.visible_law(v, k) for v in ones])


def linear_gaussian(model, v, n_sweeps, beta=1.0):
    """Mean and covariance of (v, h) of a Gaussian-Gaussian draw n_sweeps >= 1 sweeps after v.

    h = (b + W' v) / gamma_h + noise and v = (a + W h) / gamma_v + noise: a linear chain.
    """
    to_h = model.weights.T / model.hidden.precision[:, None]
    to_v = model.weights / model.visible.precision[:, None]
    noise_h = np.diag(1 / (beta * model.hidden.precision))
    noise_v = np.diag(1 / (beta * model.visible.precision))
    mean_v, cov_v = np.asarray(v, float), np.zeros((len(v), len(v)))
    for _ in range(n_sweeps):
        mean_h = model.hidden.bias / model.hidden.precision + to_h @ mean_v
        cov_h = to_h @ cov_v @ to_h.T + noise_h
        mean_v = model.visible.bias / model.visible.precision + to_v @ mean_h
        cov_v = to_v @ cov_h @ to_v.T + noise_v
    cross = to_v @ cov_h
    mean = np.concatenate([mean_v, mean_h])
    return mean, np.block([[cov_v, cross], [cross.T, cov_h]])


def joint_gaussian(model, beta=1.0):
    """Mean and covariance of (v, h) of the stationary Gaussian-Gaussian law."""
    precision = np.block(
        [
            [np.diag(model.visible.precision), -model.weights],
            [-model.weights.T, np.diag(model.hidden.precision)],
        ]
    )
    bias = np.concatenate([model.visible.bias, model.hidden.bias])
    return np.linalg.solve(precision, bias), np.linalg.inv(beta * precision)


def linear_contrastive_divergence(model, data, k, starts=None, statistics="means"):
    """As contrastive_divergence, for Gaussian-Gaussian models: Gaussian moments in closed form."""
    n = model.visible.n
    firsts, variances = [], []
    for start in data if starts is None else starts:
        mean_v, cov_v = (a[:n] for a in linear_gaussian(model, start, k))
        cov_v = cov_v[:, :n]
        slope = model.weights / model.hidden.precision
        mean_h = (model.hidden.bias + mean_v @ model.weights) / model.hidden.precision
        cov_vh, var_h = cov_v @ slope, np.einsum("ij,ik,kj->j", slope, cov_v, slope)
        if statistics == "samples":
            var_h = var_h + 1 / model.hidden.precision
        var_v = np.diag(cov_v)
        firsts.append(
            {
                "weights": np.outer(mean_v, mean_h) + cov_vh,
                "visible_bias": mean_v,
                "hidden_bias": mean_h,
            }
        )
        # The variance of a product of two jointly Gaussian numbers.
        product_variance = (
            np.outer(var_v, var_h)
            + cov_vh**2
            + np.outer(mean_v**2, var_h)
            + np.outer(var_v, mean_h**2)
            + 2 * np.outer(mean_v, mean_h) * cov_vh
        )
        variances.append({"weights": product_variance, "visible_bias": var_v, "hidden_bias": var_h})
    h_data = model.mean_hidden(data)
    data_term = {
        "weights": data.T @ h_data / len(data),
        "visible_bias": data.mean(0),
        "hidden_bias": h_data.mean(0),
    }
    average = {name: np.mean([f[name] for f in firsts], axis=0) for name in data_term}
    variance = {name: np.mean([f[name] for f in variances], axis=0) for name in data_term}
    return {name: data_term[name] - average[name] for name in data_term}, variance
