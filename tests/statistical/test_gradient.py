"""The gradient that train_cd follows, against the exact expectation after k sweeps.

With one mini-batch and neither momentum nor decay, the change of the parameters is the rate times
the gradient; many equal rows make it converge to its expectation.
"""

import adapters
import numpy as np
import pytest
from reference import checks, exact, models
from reference.checks import ALPHA

import fastrbm

RATE = 2.0**-6  # small enough to keep two Gaussian layers normalisable
N_CHAINS = 240_000  # a multiple of the three states that chains start from
pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)


def measure(model, data, k, *, starts=None, statistics="means", dtype="float32", **options):
    """The gradient by train_cd: a dict like the oracle's."""
    if starts is not None:
        options |= {"persistent": True, "chains": starts, "n_chains": len(starts)}
    result = fastrbm.train_cd(
        data, model=adapters.to_rbm(model, dtype), k=k, statistics=statistics, n_epochs=1,
        batch_size=len(data), learning_rate=RATE, momentum=0.0, weight_decay=0.0, metrics=(),
        rng=11, **options,
    )  # fmt: skip
    before, after = adapters.to_rbm(model, dtype), result.model
    return {
        "weights": (after.weights.astype(float) - before.weights) / RATE,
        "visible_bias": (after.visible.bias.astype(float) - before.visible.bias) / RATE,
        "hidden_bias": (after.hidden.bias.astype(float) - before.hidden.bias) / RATE,
    }


def expect(model, data, k, **options):
    both_gaussian = not hasattr(model.visible, "values") and not hasattr(model.hidden, "values")
    oracle = exact.linear_contrastive_divergence if both_gaussian else exact.contrastive_divergence
    return oracle(model, np.asarray(data, float), k, **options)


def setting(visible, hidden):
    model = models.small_model(visible, hidden)
    states = models.starts(visible, model.visible.n).astype(float)
    return model, states, np.repeat(states, N_CHAINS // 3, axis=0)


@pairs
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("statistics", ["means", "samples"])
def test_cd(visible, hidden, k, statistics):
    model, states, data = setting(visible, hidden)
    expected, variance = expect(model, states, k, statistics=statistics)
    measured = measure(model, data, k, statistics=statistics)
    assert checks.gradient(measured, expected, variance, N_CHAINS) > ALPHA


@pairs
def test_cd_in_double_precision(visible, hidden):
    model, states, data = setting(visible, hidden)
    expected, variance = expect(model, states, 2)
    measured = measure(model, data, 2, dtype="float64")
    assert checks.gradient(measured, expected, variance, N_CHAINS) > ALPHA


@pairs
@pytest.mark.parametrize("statistics", ["means", "samples"])
def test_pcd(visible, hidden, statistics):
    """The chains start from their own states, and their number is not that of the rows."""
    model, states, chains = setting(visible, hidden)
    data = np.repeat(states[:2], 500, axis=0)
    starts = states[1:]
    expected, variance = expect(model, states[:2], 2, starts=starts, statistics=statistics)
    chains = np.repeat(starts, N_CHAINS // 2, axis=0)
    measured = measure(model, data, 2, starts=chains, statistics=statistics)
    assert checks.gradient(measured, expected, variance, N_CHAINS) > ALPHA


@pytest.mark.parametrize("hidden", models.UNITS)
def test_probabilities(hidden):
    """Values in 0..1 enter the data term as they are; the chain starts from a draw."""
    model = models.small_model("bernoulli", hidden)
    rows = np.array([[0.2, 0.9, 0.5], [1.0, 0.0, 0.7]])
    expected, variance = expect(model, rows, 1)
    data = np.repeat(rows, N_CHAINS // 2, axis=0)
    measured = measure(model, data, 1, visible="bernoulli")
    assert checks.gradient(measured, expected, variance, N_CHAINS) > ALPHA


# ------------------------------------------------------------------------------ mutants must fail

mutant_pairs = pytest.mark.parametrize(
    ("visible", "hidden"),
    [("bernoulli", "bernoulli"), ("spin", "gaussian"), ("gaussian", "spin")],
)


def one_sweep_more(model, states, data):
    return measure(model, data, 3)


def one_sweep_less(model, states, data):
    return measure(model, data, 1)


def chains_elsewhere(model, states, data):
    return measure(model, data, 2, starts=np.repeat(states[:1], N_CHAINS, axis=0))


def wrong_sign(model, states, data):
    return {name: -value for name, value in measure(model, data, 2).items()}


def data_and_model_terms_of_different_rows(model, states, data):
    return measure(model, data[: N_CHAINS // 2], 2, starts=data)


@mutant_pairs
@pytest.mark.parametrize(
    "mutant",
    [
        one_sweep_more,
        one_sweep_less,
        chains_elsewhere,
        wrong_sign,
        data_and_model_terms_of_different_rows,
    ],
)
def test_finds(mutant, visible, hidden):
    model, states, data = setting(visible, hidden)
    expected, variance = expect(model, states, 2)
    measured = mutant(model, states, data)
    assert checks.gradient(measured, expected, variance, N_CHAINS) < ALPHA


@pytest.mark.parametrize("rows", ["rounded", "drawn"])
def test_finds_probabilities_replaced(rows):
    """Data that were rounded, or drawn once for both terms, are told from probabilities."""
    model = models.small_model("bernoulli", "bernoulli")
    probabilities = np.array([[0.2, 0.9, 0.5], [0.9, 0.1, 0.7]])
    expected, variance = expect(model, probabilities, 1)
    data = np.repeat(probabilities, N_CHAINS // 2, axis=0)
    if rows == "rounded":
        data = np.round(data)
    else:
        data = (np.random.default_rng(1).random(data.shape) < data).astype(float)
    measured = measure(model, data, 1)
    assert checks.gradient(measured, expected, variance, N_CHAINS) < ALPHA
