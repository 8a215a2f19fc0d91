"""Pseudo-likelihood, reconstruction error and free-energy gap against the oracle."""

import adapters
import numpy as np
import pytest
from reference import exact, models, philox

import fastrbm
from fastrbm import RBM, Gaussian, Spin, _lib, pseudo_likelihood
from fastrbm.evaluation import free_energy_gap, reconstruction_error

discrete_visible = pytest.mark.parametrize(
    ("visible", "hidden"), [pair for pair in models.PAIRS if pair[0] != "gaussian"]
)


def setting(visible, hidden, n_visible=17, n_hidden=9, dtype="float64", n_rows=12):
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)
    v = adapters.random_states(visible, n_rows, n_visible, seed=2)
    return rbm, adapters.to_oracle(rbm), v


def unit_log_likelihoods(oracle, v):
    """log p(v_i | all other v) by flipping each unit: (rows, units)."""
    low, high = oracle.visible.values
    out = np.empty(v.shape)
    for unit in range(v.shape[1]):
        flipped = v.copy()
        flipped[:, unit] = low + high - v[:, unit]
        out[:, unit] = -np.logaddexp(0, oracle.free_energy(v) - oracle.free_energy(flipped))
    return out


@discrete_visible
@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 1), (17, 9), (65, 70)])
def test_exact_pseudo_likelihood(visible, hidden, dtype, n_visible, n_hidden):
    rbm, oracle, v = setting(visible, hidden, n_visible, n_hidden, dtype)
    expected = unit_log_likelihoods(oracle, v).sum(1).mean()
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    assert pseudo_likelihood(rbm, v) == pytest.approx(expected, rel=tolerance, abs=tolerance)


@discrete_visible
@pytest.mark.parametrize("largest", [0.1, 5.1, 5.3, 10.3, 10.5, 20.7, 20.9, 60.0])
def test_pseudo_likelihood_of_large_weights(visible, hidden, largest):
    """Flips are products up to weights of 30 ln 2 over the ranges of both layers' states."""
    rbm, *_ = setting(visible, hidden, 40, 35)
    if hidden == "gaussian":
        largest = min(largest, 0.1)
    weights = rbm.weights * (largest / np.abs(rbm.weights).max())
    rbm = RBM(rbm.visible, rbm.hidden, weights=weights)
    oracle = adapters.to_oracle(rbm)
    v = adapters.random_states(visible, 70, 40)
    units = unit_log_likelihoods(oracle, v)
    assert pseudo_likelihood(rbm, v) == pytest.approx(units.sum(1).mean(), rel=1e-10)
    one = [pseudo_likelihood(rbm, row[None], exact=False, rng=2) for row in v]
    index = np.abs(40 * units[0] - one[0]).argmin()  # the same unit for every row
    np.testing.assert_allclose(one, 40 * units[:, index], rtol=1e-9, atol=1e-12)


@discrete_visible
def test_random_pseudo_likelihood(visible, hidden):
    """One random unit a row, times the number of units: each choice occurs, unbiased."""
    rbm, oracle, v = setting(visible, hidden, n_rows=1)
    possible = 17 * unit_log_likelihoods(oracle, v)[0]
    rng = np.random.default_rng(1)
    found = np.array([pseudo_likelihood(rbm, v, exact=False, rng=rng) for _ in range(400)])
    unit = np.abs(found[:, None] - possible).argmin(1)
    np.testing.assert_allclose(found, possible[unit], rtol=1e-9)
    counts = np.bincount(unit, minlength=17)
    assert ((counts - 400 / 17) ** 2 / (400 / 17)).sum() < 60  # chi-square, 16 degrees
    many = np.repeat(v, 100_000, axis=0)
    estimate = pseudo_likelihood(rbm, many, exact=False, rng=1)
    error = possible.std() / np.sqrt(len(many))
    assert abs(estimate - possible.mean()) < 6 * error
    assert estimate == pseudo_likelihood(rbm, many, exact=False, rng=1)


@discrete_visible
def test_which_random_unit(visible, hidden):
    """Row r takes the unit of the words of row r, in blocks of rows and beyond them."""
    rbm, oracle, v = setting(visible, hidden, n_rows=150)
    key = 5
    found = rbm._core.pseudo_likelihood(_lib.executor(2), v, False, key)
    words = philox.words(key, "PSEUDO", 0, np.arange(150), 2)
    unit = philox.below(words, 17)
    expected = 17 * unit_log_likelihoods(oracle, v)[np.arange(150), unit]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_pseudo_likelihood_of_independent_units_is_the_likelihood():
    rbm = RBM(Spin(8, bias=np.linspace(-2, 2, 8)), Spin(2), weights=np.zeros((8, 2)))
    v = adapters.random_states("spin", 20, 8)
    likelihood = (v * rbm.visible.bias - rbm.visible.cgf(0.0)).sum(1).mean()
    assert pseudo_likelihood(rbm, v) == pytest.approx(likelihood, rel=1e-12)


def test_pseudo_likelihood_far_in_the_tail():
    """Impossible data: large and finite, not -inf or nan."""
    rbm = RBM(Spin(4), Spin(1), weights=np.full((4, 1), 500.0))
    value = pseudo_likelihood(rbm, [[1, -1, 1, 1]])
    assert np.isfinite(value)
    assert value == pytest.approx(-1000.0, rel=1e-6)  # the odd unit: two flips of 500


def test_pseudo_likelihood_needs_discrete_visible_units():
    with pytest.raises(ValueError, match="discrete visible"):
        pseudo_likelihood(RBM(Gaussian(3), Spin(2)), np.zeros((2, 3)))


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_reconstruction_error(visible, hidden):
    """Mean over rows and units of (v - E[v|h])^2, h drawn: against the mean over h exactly."""
    model = models.small_model(visible, hidden)
    both = exact.Exact(model)
    v = models.starts(visible, model.visible.n).astype(float)
    laws = np.array([both.hidden_law(row) for row in v])
    means = model.mean_visible(both.h.points)
    errors = ((v[:, None] - means) ** 2).mean(-1)  # (rows, h points)
    expected = (laws * errors).sum(1).mean()
    spread = np.sqrt(((laws * errors**2).sum(1) - (laws * errors).sum(1) ** 2).mean())
    n = 50_000
    found = reconstruction_error(adapters.to_rbm(model), np.repeat(v, n, 0), rng=1)
    assert abs(found - expected) < 6 * spread / np.sqrt(3 * n)


def test_reconstruction_error_of_two_gaussian_layers():
    """E over h of (v - E[v|h])^2 = (v - E E)^2 + Var, in closed form."""
    model = models.small_model("gaussian", "gaussian")
    v = np.array([[1.0, -0.5, 2.0]])
    slope = model.weights / model.visible.precision[:, None]
    centre = model.visible.bias / model.visible.precision + slope @ model.mean_hidden(v)[0]
    variance = (slope**2 / model.hidden.precision).sum(1)
    expected = ((v[0] - centre) ** 2 + variance).mean()
    found = reconstruction_error(adapters.to_rbm(model), np.repeat(v, 200_000, 0), rng=1)
    assert found == pytest.approx(expected, rel=0.01)


def test_free_energy_gap():
    rbm, oracle, v = setting("spin", "gaussian", n_rows=700)
    expected = oracle.free_energy(v[:300]).mean() - oracle.free_energy(v[300:]).mean()
    assert free_energy_gap(rbm, v[:300], v[300:]) == pytest.approx(expected, rel=1e-9)
    assert free_energy_gap(rbm, v, v) == 0


def test_metrics_take_any_input():
    rbm, _, v = setting("spin", "spin")
    for form in (v.astype(np.int8), v.tolist(), np.asfortranarray(v)):
        assert pseudo_likelihood(rbm, form) == pseudo_likelihood(rbm, v)
        assert reconstruction_error(rbm, form, rng=1) == reconstruction_error(rbm, v, rng=1)


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_held_out_pseudo_likelihood_beats_scikit_learn(mnist, persistent):
    """The same epochs, batch, rate, momentum 0, no decay, same start: mean of 5 seeds."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    train, test = ((mnist[f"{name}_images"] >= 128).astype(np.int8) for name in ("train", "test"))
    test = test[:2000]
    differences = []
    for seed in range(5):
        start = fastrbm.train_cd(train, n_hidden=64, n_epochs=0, rng=seed).model
        ours = fastrbm.train_cd(
            train, model=start, persistent=persistent, learning_rate=0.05, batch_size=100,
            n_epochs=3, momentum=0.0, weight_decay=0.0, metrics=(), rng=seed,
        ).model  # fmt: skip
        # Their fit() sets its own start; partial_fit goes on from what is set here.
        theirs = neural_network.BernoulliRBM(64, learning_rate=0.05, batch_size=100)
        theirs.random_state_ = np.random.RandomState(seed)
        theirs.components_ = start.weights.T.copy(order="F")
        theirs.intercept_visible_ = start.visible.bias.copy()
        theirs.intercept_hidden_ = start.hidden.bias.copy()
        theirs._n_features_out = 64
        theirs.h_samples_ = np.zeros((100, 64), np.float32)
        order = np.random.default_rng(seed)
        for _ in range(3):
            for rows in order.permutation(len(train)).reshape(-1, 100):
                theirs._fit(train[rows].astype(np.float32), theirs.random_state_)
        other = RBM(
            fastrbm.Bernoulli(784, bias=theirs.intercept_visible_),
            fastrbm.Bernoulli(64, bias=theirs.intercept_hidden_),
            weights=theirs.components_.T,
        )
        differences.append(pseudo_likelihood(ours, test) - pseudo_likelihood(other, test))
    error = np.std(differences, ddof=1) / np.sqrt(5)
    assert np.mean(differences) > -2 * error
