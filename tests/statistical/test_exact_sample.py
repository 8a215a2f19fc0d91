"""exact_sample: independent draws from the joint law, by chi-square on joint (v, h) cells.

The checks find the mutants of reference.exact_methods.sample (test_exact_mutants.py).
"""

from dataclasses import replace

import adapters
import numpy as np
import pytest
from reference import checks, models, proof
from reference.checks import ALPHA, chi_square
from reference.enumeration import Enumeration, discrete_sides
from reference.exact import Model, joint_gaussian

import fastrbm

N_DRAWS = 100_000
pairs = pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)


@pairs
@dtypes
def test_joint_law(visible, hidden, dtype):
    model = models.small_model(visible, hidden)
    sampler = adapters.exact_sampler(dtype)
    assert proof.sample_p_value(sampler, model, N_DRAWS) > ALPHA


@pytest.mark.parametrize(
    ("visible", "hidden", "method"),
    [
        (*pair, method)
        for pair in models.MIXED_PAIRS
        for method in ("split", "elimination", "pairwise", "quadrature")
        if method in ("split", "elimination") or "gaussian" in pair
    ],
)
def test_methods(visible, hidden, method):
    """Each method draws in a way of its own."""
    sampler = adapters.exact_sampler(method=method)
    assert proof.sample_p_value(sampler, models.small_model(visible, hidden), 50_000) > ALPHA


@pairs
@pytest.mark.parametrize("beta", [0.5, 1.6])
def test_other_temperatures(visible, hidden, beta):
    model = models.small_model(visible, hidden)
    assert proof.sample_p_value(adapters.exact_sampler(), model, N_DRAWS, beta) > ALPHA


def state_numbers(states):
    """Bit i of the number is whether unit i is high."""
    return (states > 0).astype(np.int64) @ (1 << np.arange(states.shape[1], dtype=np.int64))


@pairs
@pytest.mark.parametrize("shape", [(10, 8), (8, 11)])
def test_states_of_the_discrete_layers(visible, hidden, shape):
    """A thousand states: each layer's marginal law against enumeration; neighbours independent."""
    model = adapters.random_model(visible, hidden, *shape, seed=3, scale=0.5)
    drawn = dict(
        zip(
            ("visible", "hidden"),
            fastrbm.exact_sample(adapters.to_rbm(model), 200_000, rng=5),
            strict=True,
        )
    )
    p_values = []
    for side in discrete_sides(model):
        law = Enumeration(model, side=side)
        p = law.numbers.to_float(law.probabilities)
        numbers = state_numbers(drawn[side])
        p_values.append(chi_square(numbers, p))
        group = np.argsort(np.argsort(-p, kind="stable")) % 32
        mass = np.bincount(group, p, 32)
        pairs_of = group[numbers].reshape(-1, 2) @ [32, 1]
        p_values.append(chi_square(pairs_of, np.outer(mass, mass).ravel()))
    assert checks.worst(p_values) > ALPHA


@pairs
def test_moments_of_the_draws(visible, hidden):
    """<v h> of independent draws against exact_moments, in standard errors."""
    model = adapters.random_model(visible, hidden, 8, 7, scale=0.6)
    rbm, n = adapters.to_rbm(model), 100_000
    v, h = fastrbm.exact_sample(rbm, n, rng=8)
    m = fastrbm.exact_moments(rbm)
    for value, draws in ((m.visible, v), (m.hidden, h)):
        z = (draws.mean(0) - value) / np.maximum(draws.std(0), 1e-3) * np.sqrt(n)
        assert np.abs(z).max() < 6
    draws = v[:, :, None] * h[:, None]
    z = (draws.mean(0) - m.products) / np.maximum(draws.std(0), 1e-3) * np.sqrt(n)
    assert np.abs(z).max() < 6
    energy = rbm.energy(v, h)
    assert abs(energy.mean() - m.energy) < 6 * energy.std() / np.sqrt(n)


@pytest.mark.parametrize("factor", [3.0, 20.0])
def test_frustrated_models(factor):
    """Strong couplings without a field: both signs of the ground states, and no others."""
    weights = 0.5 * factor * np.random.default_rng(2).standard_normal((10, 10))
    zero = adapters.random_model("spin", "gaussian", 10, 10)
    model = Model(
        replace(zero.visible, bias=np.zeros(10)), replace(zero.hidden, bias=np.zeros(10)), weights
    )
    law = Enumeration(model)
    p = law.numbers.to_float(law.probabilities)
    v, _ = fastrbm.exact_sample(adapters.to_rbm(model), N_DRAWS, rng=4)
    numbers = state_numbers(v)
    assert chi_square(numbers, p) > ALPHA
    assert p[np.unique(numbers)].min() > 1e-12


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_few_gaussian_units_and_many_others(unit, p):
    """60 discrete units: what is enumerated is the grid or the counts, not their states."""
    rng = np.random.default_rng(7)
    model = adapters.random_model(unit, "gaussian", 60, p, seed=7, scale=0.15)
    weights = model.weights if p > 1 else np.full((60, 1), 0.1) + 0.01 * rng.random((60, 1))
    rbm = adapters.to_rbm(replace(model, weights=weights))
    n = 50_000
    v, h = fastrbm.exact_sample(rbm, n, rng=8)
    m = fastrbm.exact_moments(rbm)
    for value, draws in (
        (m.visible, v), (m.hidden, h), (m.products, v[:, :, None] * h[:, None])
    ):  # fmt: skip
        z = (draws.mean(0) - value) / np.maximum(draws.std(0), 1e-3) * np.sqrt(n)
        assert np.abs(z).max() < 6


def test_equal_rows():
    """Groups of equal units: units of one group are exchangeable, and their number is right."""
    group = np.repeat([0, 1], [5, 4])
    model = adapters.random_model("bernoulli", "spin", 9, 30, seed=7, scale=0.4)
    layer = replace(model.visible, bias=model.visible.bias[group])
    model = replace(model, visible=layer, weights=model.weights[group])
    law = Enumeration(model, side="visible")
    v, _ = fastrbm.exact_sample(adapters.to_rbm(model), 40_000, rng=4, method="counts")
    assert chi_square(state_numbers(v), law.numbers.to_float(law.probabilities)) > ALPHA


@pairs
def test_disconnected_blocks(visible, hidden):
    model = adapters.random_model(visible, hidden, 8, 7, seed=3, scale=0.6)
    weights = model.weights.copy()
    weights[:4, 3:] = weights[4:, :3] = 0.0
    weights[7] = 0.0  # and a unit that nothing couples to
    model = replace(model, weights=weights)
    sampled = fastrbm.exact_sample(adapters.to_rbm(model), N_DRAWS, rng=4)
    for side, states in zip(("visible", "hidden"), sampled, strict=True):
        if side in discrete_sides(model):
            law = Enumeration(model, side=side)
            p = law.numbers.to_float(law.probabilities)
            assert chi_square(state_numbers(states), p) > ALPHA


@dtypes
def test_two_gaussian_layers(dtype):
    model = models.small_model("gaussian", "gaussian")
    mean, covariance = joint_gaussian(model, 0.8)
    v, h = fastrbm.exact_sample(adapters.to_rbm(model, dtype), N_DRAWS, rng=4, beta=0.8)
    draws = np.concatenate([v, h], axis=1).astype(float)
    assert checks.worst(checks.gaussian_law(draws, mean, covariance)) > ALPHA
    # Neighbouring draws and draws of another seed are independent of these.
    v, h = fastrbm.exact_sample(adapters.to_rbm(model, dtype), N_DRAWS, rng=5, beta=0.8)
    other = np.concatenate([v, h], axis=1).astype(float)
    for one, two in ((draws[::2], draws[1::2]), (draws, other)):
        both = np.concatenate([one, two], axis=1)
        twice = np.kron(np.eye(2), covariance)
        p_values = checks.gaussian_law(both, np.tile(mean, 2), twice)
        assert checks.worst(p_values) > ALPHA
