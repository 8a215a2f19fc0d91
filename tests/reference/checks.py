"""Statistical tests of samplers: each takes a sampler (see gibbs.py) and returns a p-value.

A test compares counts of independent chains with exact probabilities by Pearson's chi-square; its
p-value is the smallest of its comparisons times their number (Bonferroni). A correct sampler gives
p > ALPHA, with seeds fixed; every mutant must give less.
"""

import numpy as np
from scipy import stats

from .exact import joint_gaussian, linear_gaussian, solve

N_TESTS = 1000  # more than the suite makes
ALPHA = 1e-6 / N_TESTS
MIN_EXPECTED = 25.0  # rarer cells are pooled, for the chi-square law to hold far in its tail


def chi_square(cells, probabilities):
    """p-value of cell numbers (n,) drawn independently from the probabilities."""
    return chi_square_of_counts(np.bincount(cells, minlength=len(probabilities)), probabilities)


def chi_square_of_counts(counts, probabilities):
    """The same, of the number of draws in each cell."""
    expected = probabilities * (counts.sum() / probabilities.sum())
    rare = expected < MIN_EXPECTED
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < MIN_EXPECTED:  # too rare even together: they join the smallest cell
        smallest = np.argmin(expected[:-1])
        for values in (observed, expected):
            values[smallest] += values[-1]
        observed, expected = observed[:-1], expected[:-1]
    if len(observed) < 2:
        raise ValueError("one cell tests nothing")
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed) - 1)


def worst(p_values):
    """Bonferroni: one p-value for many."""
    return min(1.0, min(p_values) * len(p_values))


def _joint_cells(exact, visible, hidden):
    return exact.v.cells_of(visible) * exact.h.n_cells + exact.h.cells_of(hidden)


def transition(sampler, model, starts, n_chains, beta=1.0, clamp=None, seed=1):
    """From each fixed start, the (v, h) law of draws after 1, 2 and 3 sweeps.

    Schedules: thin = 1, 2, 3 for one draw; burn_in = 1 with two draws one sweep apart. In the
    first, neighbouring chains must also be independent.
    """
    free = np.ones(model.visible.n, bool) if clamp is None else ~np.asarray(clamp)
    schedules = [
        {"thin": 1, "burn_in": 0, "n_draws": 1},
        {"thin": 2, "burn_in": 0, "n_draws": 1},
        {"thin": 3, "burn_in": 0, "n_draws": 1},
        {"thin": 1, "burn_in": 1, "n_draws": 2},
    ]
    p_values = []
    for index, start in enumerate(np.asarray(starts, float)):
        exact = solve(model if clamp is None else model.clamped(clamp, start), beta)
        laws = {k: exact.joint_cells_after(start[free], k).ravel() for k in (1, 2, 3)}
        init = np.broadcast_to(start, (n_chains, len(start)))
        for offset, schedule in enumerate(schedules):
            visible, hidden = sampler(
                model, init, beta=beta, clamp=clamp, seed=seed + 10 * index + offset, **schedule
            )
            if (visible[..., ~free] != start[~free].astype(visible.dtype)).any():
                return 0.0  # a clamped unit moved
            for t in range(schedule["n_draws"]):
                law = laws[schedule["burn_in"] + (t + 1) * schedule["thin"]]
                cells = _joint_cells(exact, visible[:, t][:, free], hidden[:, t])
                p_values.append(chi_square(cells, law))
            if offset == 0:
                pairs = exact.v.cells_of(visible[:, 0][:, free]).reshape(-1, 2)
                one = laws[1].reshape(exact.v.n_cells, -1).sum(1)
                p_values.append(
                    chi_square(pairs @ [len(one), 1], np.outer(one, one).ravel())
                )  # fmt: skip
    return worst(p_values)


def stationarity(sampler, model, n_chains, beta=1.0, seed=2):
    """Chains that start in the exact law stay in it, on joint (v, h) cells."""
    exact = solve(model, beta)
    init = draw_visible(exact, n_chains, np.random.default_rng(seed))
    visible, hidden = sampler(
        model, init, n_draws=2, burn_in=1, thin=2, beta=beta, seed=seed
    )  # fmt: skip
    law = exact.joint_cells().ravel()
    return worst(
        [chi_square(_joint_cells(exact, visible[:, t], hidden[:, t]), law) for t in range(2)]
    )


def lag_one(sampler, model, n_chains, thin, beta=1.0, seed=3):
    """Cross-counts of successive draws, on the discrete side, against T^thin."""
    exact = solve(model, beta)
    init = draw_visible(exact, n_chains, np.random.default_rng(seed))
    draws = sampler(model, init, n_draws=3, burn_in=1, thin=thin, beta=beta, seed=seed)
    if exact.v.edges is None:
        grid, states, sweep = exact.v, draws[0], exact.transition
        law = exact.joint.sum(1)
    else:
        grid, states, sweep = exact.h, draws[1], exact.v_given_h @ exact.h_given_v
        law = exact.joint.sum(0)
    cross = (law[:, None] * np.linalg.matrix_power(sweep, thin)).ravel()
    cells = grid.cells_of(states)
    return worst(
        [chi_square(cells[:, t] * grid.n_cells + cells[:, t + 1], cross) for t in range(2)]
    )


def linear(sampler, model, starts, n_chains, beta=1.0, seed=4):
    """Gaussian-Gaussian: mean and covariance of (v, h) after 1, 2, 3 sweeps and in equilibrium."""
    p_values = []
    for index, start in enumerate(np.asarray(starts, float)):
        init = np.broadcast_to(start, (n_chains, len(start)))
        for k in (1, 2, 3):
            visible, hidden = sampler(model, init, thin=k, beta=beta, seed=seed + 10 * index + k)
            p_values += gaussian_law(
                np.concatenate([visible[:, 0], hidden[:, 0]], axis=1),
                *linear_gaussian(model, start, k, beta),
            )
    mean, covariance = joint_gaussian(model, beta)
    rng = np.random.default_rng(seed)
    init = rng.multivariate_normal(mean, covariance, n_chains)[:, : model.visible.n]
    visible, hidden = sampler(model, init, burn_in=1, thin=2, n_draws=2, beta=beta, seed=seed)
    joint = np.concatenate([visible[:, 1], hidden[:, 1]], axis=1)
    return worst(p_values + gaussian_law(joint, mean, covariance))


def gaussian_law(samples, mean, covariance):
    """p-values of the mean, the covariance and the cells of each whitened direction."""
    n, d = samples.shape
    z = np.linalg.solve(np.linalg.cholesky(covariance), (samples - mean).T).T
    second = z.T @ z / n - np.eye(d)
    off = second[np.triu_indices(d, 1)]
    cells = np.searchsorted(stats.norm.ppf(np.arange(1, 16) / 16), z)
    return [
        stats.chi2.sf(n * (z.mean(0) ** 2).sum(), d),
        stats.chi2.sf(n * (off**2).sum(), len(off)),
        stats.chi2.sf(n * (np.diag(second) ** 2).sum() / 2, d),
        *(chi_square(cells[:, i], np.full(16, 1 / 16)) for i in range(d)),
    ]


def draw_visible(exact, n, rng):
    """Independent visible states from the exact law, (n, n_visible)."""
    if exact.v.edges is None:
        law = exact.joint.sum(1)
        return exact.v.points[rng.choice(len(law), n, p=law / law.sum())]
    law = exact.joint.sum(0)
    h = exact.h.points[rng.choice(len(law), n, p=law / law.sum())]
    x = h @ exact.model.weights.T
    layer = exact.model.visible
    sd = np.sqrt(layer.variance(x, exact.beta))
    return layer.mean(x, exact.beta) + sd * rng.standard_normal(x.shape)


def separation(model, starts, n_chains, beta=1.0):
    """The least distance, in standard errors, between laws that a transition test must tell apart.

    For every start, between k and k + 1 sweeps (k = 0 is the start itself); and, for every number
    of sweeps, between starts: the largest difference of a cell over its standard error.
    """
    exact = solve(model, beta)
    laws = np.array([[exact.joint_cells_after(v, k).ravel() for k in (1, 2, 3, 4)] for v in starts])

    def distance(p, q):
        return (np.abs(p - q) / np.sqrt(np.maximum(p, 1e-6) / n_chains)).max(-1)

    successive = distance(laws[:, :-1], laws[:, 1:]).min()
    between = min(
        distance(laws[i], laws[j])[:3].min() for i in range(len(laws)) for j in range(i)
    )  # fmt: skip
    return min(successive, between)


def gradient(measured, expected, variance, n_chains):
    """p-value of a CD gradient that averages n_chains chains: all entries of all parameters."""
    z = [
        (measured[name] - expected[name]) / np.sqrt(variance[name] / n_chains) for name in expected
    ]
    return worst(2 * stats.norm.sf(np.abs(np.concatenate([a.ravel() for a in z]))))
