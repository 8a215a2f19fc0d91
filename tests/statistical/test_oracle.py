"""The oracle against closed forms and second routes, before anything is compared with it."""

import numpy as np
import pytest
from reference import checks, exact, gibbs, models, philox
from reference.layers import bernoulli, gaussian, spin
from scipy.special import logsumexp


def test_philox_known_answers():
    """Random123's kat_vectors for philox4x32-10."""
    ones = 0xFFFFFFFF
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    cases = [
        ([0] * 4, [0] * 2, "6627e8d5e169c58dbc57ac4c9b00dbd8"),
        ([ones] * 4, [ones] * 2, "408f276d41c83b0ea20bc7c66d5451fd"),
        (pi, [0xA4093822, 0x299F31D0], "d16cfe0994fdcceb5001e42024126ea1"),
    ]
    for counter, key, answer in cases:
        assert "".join(f"{word:08x}" for word in philox.philox(counter, key)) == answer


@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "gaussian"), ("spin", "gaussian")])
@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_gaussian_hidden_units_integrated(visible, hidden, beta):
    """log Z by quadrature = log Z of the pairwise model, with all constants."""
    model = models.small_model(visible, hidden)
    a, b, gamma = model.visible.bias, model.hidden.bias, model.hidden.precision
    couplings = (model.weights / gamma) @ model.weights.T
    fields = a + (model.weights / gamma) @ b
    constant = (beta * b**2 / (2 * gamma) + np.log(2 * np.pi / (beta * gamma)) / 2).sum()
    if visible == "bernoulli":
        fields = fields + np.diag(couplings) / 2
    else:
        constant += beta * np.trace(couplings) / 2
    v = exact.all_states(model.visible.values, model.visible.n)
    pairs = np.einsum("si,ij,sj->s", v, np.triu(couplings, 1), v)
    log_z = logsumexp(beta * (pairs + v @ fields)) + constant
    assert exact.Exact(model, beta).log_z == pytest.approx(log_z, abs=1e-11)


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_log_z_from_free_energies(visible, hidden):
    """Summing one side analytically and the other by the grid gives the same log Z."""
    model = models.small_model(visible, hidden)
    both = exact.Exact(model)
    v, h = both.v, both.h
    assert logsumexp(v.log_measure - model.free_energy(v.points)) == pytest.approx(both.log_z)
    other = model.swapped().free_energy(h.points)
    assert logsumexp(h.log_measure - other) == pytest.approx(both.log_z)


def test_transition_by_gauss_hermite():
    """The composite rule's T of a Gaussian hidden layer = Gauss-Hermite's, to rounding."""
    model = models.small_model("spin", "gaussian")
    ours = exact.Exact(model).transition
    nodes, weights = np.polynomial.hermite_e.hermegauss(140)
    v = exact.all_states((-1, 1), 3)
    means = model.mean_hidden(v)
    theirs = np.zeros_like(ours)
    for i, wi in zip(nodes, weights, strict=True):
        for j, wj in zip(nodes, weights, strict=True):
            h = means + np.array([i, j]) / np.sqrt(model.hidden.precision)
            up = model.visible.probabilities(h @ model.weights.T)  # (from, unit, state)
            to = np.prod(np.where(v[None] > 0, up[:, None, :, 1], up[:, None, :, 0]), axis=-1)
            theirs += wi * wj / (2 * np.pi) * to
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_laws(visible, hidden, beta):
    """Rows sum to one, the joint law is invariant, and k steps compose."""
    both = exact.Exact(models.small_model(visible, hidden), beta)
    discrete_first = both if both.v.edges is None else exact.Exact(both.model.swapped(), beta)
    law, sweep = discrete_first.joint.sum(1), discrete_first.transition
    np.testing.assert_allclose(sweep.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(law @ sweep, law, atol=1e-12)
    start = models.starts(visible, both.model.visible.n)[1]
    far = both.joint_cells_after(start, 400)
    np.testing.assert_allclose(far, both.joint_cells(), atol=1e-9)
    if both.v.edges is None:
        row = both.v.cells_of(start)
        power = np.linalg.matrix_power(both.transition, 3)[row]
        np.testing.assert_allclose(both.joint_cells_after(start, 3).sum(1), power, atol=1e-12)


def test_cells_of_gaussian_marginals_are_quartiles():
    both = exact.Exact(models.small_model("gaussian", "bernoulli"))
    cells = both.joint_cells().sum(1).reshape(4, 4)
    np.testing.assert_allclose(cells.sum(0), 0.25, atol=1e-6)
    np.testing.assert_allclose(cells.sum(1), 0.25, atol=1e-6)


def test_linear_gaussian_reaches_the_joint_law():
    model = models.small_model("gaussian", "gaussian")
    mean, covariance = exact.linear_gaussian(model, np.ones(3), 200, beta=0.7)
    exact_mean, exact_covariance = exact.joint_gaussian(model, beta=0.7)
    np.testing.assert_allclose(mean, exact_mean, atol=1e-12)
    np.testing.assert_allclose(covariance, exact_covariance, atol=1e-12)


def test_clamped_model_is_the_conditional_law():
    """Fixing units and conditioning the joint law on their values agree."""
    model = models.small_model("spin", "bernoulli")
    clamp, start = np.array([True, False, True]), np.array([1.0, -1.0, -1.0])
    v = exact.all_states((-1, 1), 3)
    joint = exact.Exact(model).joint[(v[:, clamp] == start[clamp]).all(1)]
    reduced = exact.Exact(model.clamped(clamp, start)).joint
    np.testing.assert_allclose(joint / joint.sum(), reduced, atol=1e-14)


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_long_contrastive_divergence_is_the_likelihood_gradient(visible, hidden):
    """CD-k for large k = the derivative of the mean log-likelihood, by finite differences."""
    model = models.small_model(visible, hidden)
    data = models.starts(visible, model.visible.n).astype(float)
    gradient, _ = exact.contrastive_divergence(model, data, 400)

    def log_likelihood(shift):
        moved = exact.Model(model.visible, model.hidden, model.weights + shift)
        return -moved.free_energy(data).mean() - exact.Exact(moved).log_z

    for i, mu in np.ndindex(model.weights.shape):
        step = np.zeros_like(model.weights)
        step[i, mu] = 1e-4
        slope = (log_likelihood(step) - log_likelihood(-step)) / 2e-4
        assert gradient["weights"][i, mu] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_models_can_tell_sweeps_apart(visible, hidden):
    """Laws after k and k + 1 sweeps, and from two starts, differ by 20 standard errors."""
    model = models.small_model(visible, hidden)
    starts = models.starts(visible, model.visible.n)
    assert checks.separation(model, starts, 1_000_000) > 20


def test_chi_square_is_a_p_value():
    """Uniform on correct counts, zero on impossible ones, with rare cells pooled."""
    law = np.array([0.5, 0.3, 0.15, 0.049, 0.0009, 0.0001, 0.0])
    rng = np.random.default_rng(1)
    p = [checks.chi_square(rng.choice(7, 20_000, p=law), law) for _ in range(400)]
    assert abs(np.mean(p) - 0.5) < 0.08
    assert min(p) > 1e-4
    assert checks.chi_square(np.full(20_000, 6), law) < 1e-300


def test_permutation_is_uniform():
    """All 24 orders of 4 rows are equally frequent over the epochs."""
    orders = np.array([philox.permutation(99, "SHUFFLE", epoch, 4) for epoch in range(4800)])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert checks.chi_square(np.repeat(np.arange(24), counts), np.full(24, 1 / 24)) > 1e-4


def test_layers_by_hand():
    assert bernoulli([0.0]).mean(np.array([0.0])) == 0.5
    assert spin([0.25]).mean(np.array([0.75])) == pytest.approx(np.tanh(1.0))
    assert gaussian([1.0], [2.0]).mean(np.array([3.0])) == 2.0
    assert gaussian([0.0]).cgf(np.array([0.0])) == pytest.approx(np.log(2 * np.pi) / 2)


def test_linear_contrastive_divergence_by_simulation():
    """Moments of the Gaussian pair's gradient against a direct simulation of the chain."""
    model = models.small_model("gaussian", "gaussian")
    start, n = np.array([[1.0, -2.0, 0.5]]), 400_000
    expected, variance = exact.linear_contrastive_divergence(model, start, 2)
    v = gibbs.gibbs(model, np.repeat(start, n, axis=0), thin=2, seed=3)[0][:, 0]
    h = model.mean_hidden(v)
    products = v[:, :, None] * h[:, None]
    measured = np.outer(start, model.mean_hidden(start)) - products.mean(0)
    np.testing.assert_allclose(
        (measured - expected["weights"]) / np.sqrt(variance["weights"] / n), 0, atol=5
    )
    np.testing.assert_allclose(products.var(0), variance["weights"], rtol=0.02)
