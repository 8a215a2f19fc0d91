"""The checks of the exact methods pass right methods and find every wrong one.

`reference.exact_methods` holds both, in NumPy; test_exact_*.py put the package to the same checks.
"""

from functools import cache

import numpy as np
import pytest
from adapters import random_model
from reference import exact_methods, models, proof
from reference.checks import ALPHA
from reference.exact import Model
from reference.layers import bernoulli, gaussian, spin

BETA = 0.8
N_DRAWS = 40_000
pairs = pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
gaussian_pairs = pytest.mark.parametrize(
    ("visible", "hidden"), [pair for pair in models.MIXED_PAIRS if "gaussian" in pair]
)
UNITS = {"bernoulli": bernoulli, "spin": spin, "gaussian": gaussian}


@cache
def proof_models(visible, hidden):
    """Ordinary, weak and strong couplings; many units; a field of Gaussian biases alone; none."""
    model = random_model(visible, hidden, 7, 6, scale=0.6)
    chosen = [proof.scaled(model, factor) for factor in proof.SCALES]
    if "gaussian" in (visible, hidden):
        chosen += [frustrated(visible, hidden, factor, seed) for factor, seed in HARD]
        chosen += [proof.without_discrete_bias(model), proof.with_cancelled_field(model)]
    else:
        # Biases of 30 on 40 units: a product of 32 factors would pass the range of float64.
        biased = UNITS[hidden](np.full(40, 30.0))
        chosen.append(Model(model.visible, biased, random_model(visible, hidden, 7, 40).weights))
    return chosen


HARD = ((5.0, 0), (20.0, 1), (20.0, 2), (30.0, 3), (30.0, 4))  # factor, seed


def frustrated(visible, hidden, factor, seed, n=12):
    """The issue's hard case: weights N(0, 0.25) times a factor, no biases, n against n units."""
    weights = 0.5 * factor * np.random.default_rng(seed).standard_normal((n, n))
    return Model(UNITS[visible](np.zeros(n)), UNITS[hidden](np.zeros(n)), weights)


def worst(function, visible, hidden):
    return max(proof.excess(function, model, BETA) for model in proof_models(visible, hidden))


def worst_moments(function, visible, hidden):
    model = random_model(visible, hidden, 4, 4, scale=0.6)
    return proof.moments_excess(function, model, BETA)


def p_value(function, visible, hidden):
    return proof.sample_p_value(function, models.small_model(visible, hidden), N_DRAWS, BETA)


@gaussian_pairs
def test_pairwise_passes(visible, hidden):
    assert worst(exact_methods.pairwise, visible, hidden) <= 1


@pairs
def test_split_passes(visible, hidden):
    assert worst(exact_methods.split, visible, hidden) <= 1


@pairs
def test_moments_pass(visible, hidden):
    assert worst_moments(exact_methods.moments, visible, hidden) <= 1


@pairs
def test_samples_pass(visible, hidden):
    assert p_value(exact_methods.sample, visible, hidden) > ALPHA


# ---------------------------------------------------------------------------- mutants must fail


@gaussian_pairs
@pytest.mark.parametrize("mutant", exact_methods.PAIRWISE_MUTANTS)
def test_finds_wrong_pairwise(mutant, visible, hidden):
    assert worst(exact_methods.PAIRWISE_MUTANTS[mutant], visible, hidden) > 1


def test_what_underflows_is_finite_and_wrong():
    """The trap of the range: without the certificate a plausible number comes back."""
    answers = [
        (exact_methods.PAIRWISE_MUTANTS["underflow ignored"](model).value, model)
        for model in (frustrated("spin", "gaussian", 20.0, seed) for seed in range(20))
    ]
    wrong = [
        abs(value - exact_methods.pairwise(model).value)
        for value, model in answers
        if np.isfinite(value)
    ]
    assert max(wrong) > 1.0


def left_right(mutant, visible, hidden):
    """Whether a pair does not have what this mutant of the split product gets wrong."""
    enumerated = visible if hidden == "gaussian" else hidden  # the smaller layer
    other = hidden if hidden == "gaussian" else visible
    return {
        "rescaled by a count": other == "gaussian",
        "the factor exp(-x - y) of a spin dropped": other != "spin",
        "spins taken as 0 and 1": enumerated != "spin",
        "the Gaussian integral's constant dropped": other != "gaussian",
    }.get(mutant, False)


@pytest.mark.parametrize(
    ("mutant", "visible", "hidden"),
    [
        (mutant, *pair)
        for mutant in exact_methods.SPLIT_MUTANTS
        for pair in models.MIXED_PAIRS
        if not left_right(mutant, *pair)
    ],
)
def test_finds_wrong_split(mutant, visible, hidden):
    assert worst(exact_methods.SPLIT_MUTANTS[mutant], visible, hidden) > 1


@pytest.mark.parametrize(
    ("mutant", "visible", "hidden"),
    [
        (mutant, *pair)
        for mutant in exact_methods.MOMENT_MUTANTS
        for pair in models.MIXED_PAIRS
        if mutant != "the energy of the reduced model" or "gaussian" in pair
    ],
)
def test_finds_wrong_moments(mutant, visible, hidden):
    assert worst_moments(exact_methods.MOMENT_MUTANTS[mutant], visible, hidden) > 1


@pairs
@pytest.mark.parametrize("mutant", exact_methods.SAMPLE_MUTANTS)
def test_finds_wrong_samples(mutant, visible, hidden):
    assert p_value(exact_methods.SAMPLE_MUTANTS[mutant], visible, hidden) < ALPHA
