"""train_exact: its gradient against differentiated likelihoods, then all that train_cd promises."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import product

import adapters
import numpy as np
import pytest
from reference import models, philox, training

import fastrbm
from fastrbm import (
    RBM,
    Bernoulli,
    DivergenceError,
    Gaussian,
    Interrupted,
    Spin,
    _lib,
    train_cd,
    train_exact,
)
from fastrbm._lib import core
from fastrbm.evaluation.exact.moments import gradient_source

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
optimizers = pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
NAMES = training.NAMES
PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "metrics": (), "batch_size": None}


def key_of(seed):
    return int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))


def rows_for(visible, n_rows, n, seed=7):
    return adapters.random_states(visible, n_rows, n, seed=seed)


# ------------------------------------------------------- the log-likelihood, differentiated
#
# Written for complex parameters: the imaginary part of f(x + 1e-30 i) is 1e-30 f'(x) to all digits,
# so that the gradient is that of the enumerated log-likelihood without any formula for it.

STEP = 1e-30
STATES = {"bernoulli": (0.0, 1.0), "spin": (-1.0, 1.0)}


def log_sum_exp(terms):
    largest = terms.real.max(-1)
    return np.log(np.exp(terms - largest[..., None]).sum(-1)) + largest


def cgf(unit, precision, x):
    """log of the sum (integral) over one unit's states of exp(log-weight + input), at field x."""
    if unit == "gaussian":
        return x**2 / (2 * precision) + np.log(2 * np.pi / precision) / 2
    low, high = STATES[unit]
    return log_sum_exp(np.stack([low * x, high * x], -1))


def log_z(units, precisions, parameters):
    w, a, b = (parameters[name] for name in NAMES)
    if units == ("gaussian", "gaussian"):
        joint = np.block([[np.diag(precisions[0]), -w], [-w.T, np.diag(precisions[1])]])
        bias = np.concatenate([a, b])
        log_det = np.log(np.linalg.det(joint / (2 * np.pi)))
        return (bias @ np.linalg.solve(joint, bias) - log_det) / 2
    if units[0] == "gaussian":
        swapped = {"weights": w.T, "visible_bias": b, "hidden_bias": a}
        return log_z(units[::-1], precisions[::-1], swapped)
    v = np.array(list(product(STATES[units[0]], repeat=len(a))))
    return log_sum_exp(v @ a + cgf(units[1], precisions[1], v @ w + b).sum(-1))


def log_likelihood(units, precisions, parameters, data):
    w, a, b = (parameters[name] for name in NAMES)
    log_weight = data @ a
    if units[0] == "gaussian":
        log_weight = log_weight - (precisions[0] * data**2).sum(-1) / 2
    minus_free_energy = log_weight + cgf(units[1], precisions[1], data @ w + b).sum(-1)
    return minus_free_energy.mean() - log_z(units, precisions, parameters)


class Likelihood:
    """The mean log-likelihood of data under models like one RBM, and its gradient."""

    def __init__(self, rbm):
        self.units = (rbm.visible.unit, rbm.hidden.unit)
        ones = [np.ones(layer.n) for layer in (rbm.visible, rbm.hidden)]
        layers = (rbm.visible, rbm.hidden)
        self.precisions = [
            layer.precision.astype(float) if layer.unit == "gaussian" else one
            for layer, one in zip(layers, ones, strict=True)
        ]

    def value(self, parameters, data):
        return log_likelihood(self.units, self.precisions, parameters, data)

    def gradient(self, parameters, data):
        parameters = {name: array.astype(complex) for name, array in parameters.items()}
        out = {name: np.empty(array.shape) for name, array in parameters.items()}
        for name, array in parameters.items():
            for index in np.ndindex(array.shape):
                array[index] += 1j * STEP
                out[name][index] = self.value(parameters, data).imag / STEP
                array[index] = array[index].real
        return out


def parameters_of(rbm):
    arrays = (rbm.weights, rbm.visible.bias, rbm.hidden.bias)
    return {name: array.astype(float) for name, array in zip(NAMES, arrays, strict=True)}


def value_of(rbm, data):
    return Likelihood(rbm).value(parameters_of(rbm), np.asarray(data, float))


def small(visible, hidden, n_visible=4, n_hidden=3, dtype="float64", seed=0):
    model = adapters.random_model(visible, hidden, n_visible, n_hidden, seed=seed, scale=0.8)
    return adapters.to_rbm(model, dtype)


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(4, 3), (2, 5)])
@pairs
def test_one_update_is_the_differentiated_likelihood(visible, hidden, n_visible, n_hidden):
    """At rate 1 without momentum and decay the step is the gradient, to rounding."""
    rbm = small(visible, hidden, n_visible, n_hidden)
    data = rows_for(visible, 9, n_visible)
    result = train_exact(
        data, model=rbm, visible=visible, n_epochs=1, learning_rate=2.0**-8, rng=1, **PLAIN
    )
    before, after = parameters_of(rbm), parameters_of(result.model)
    for name, expected in Likelihood(rbm).gradient(before, data).items():
        found = (after[name] - before[name]) * 2.0**8
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-13, err_msg=name)


@pytest.mark.parametrize("hidden", models.UNITS)
def test_one_update_on_probabilities(hidden):
    """Probabilities are used as they are in the data term."""
    rbm = small("bernoulli", hidden)
    data = np.random.default_rng(3).random((9, 4))
    result = train_exact(
        data, model=rbm, visible="bernoulli", n_epochs=1, learning_rate=2.0**-8, rng=1, **PLAIN
    )
    before, after = parameters_of(rbm), parameters_of(result.model)
    for name, expected in Likelihood(rbm).gradient(before, data).items():
        found = (after[name] - before[name]) * 2.0**8
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-13, err_msg=name)


# ----------------------------------------------------------------- update for update, all options


def reference(
    rbm, data, key, *, n_epochs, batch_size, rate, momentum=0.0, weight_decay=0.0, max_norm=None,
    freeze=(), shuffle="SHUFFLE",
):  # fmt: skip
    """The updates of train_exact with the differentiated likelihood: parameters, update norms."""
    likelihood, values = Likelihood(rbm), parameters_of(rbm)
    velocity = {name: np.zeros_like(value) for name, value in values.items()}
    norms = []
    for epoch in range(1, n_epochs + 1):
        order = philox.permutation(key, shuffle, epoch, len(data))
        squares = []
        for first in range(0, len(data), batch_size):
            gradient = likelihood.gradient(values, data[order[first : first + batch_size]])
            gradient = {name: g for name, g in gradient.items() if name not in freeze}
            norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
            scale = min(1.0, max_norm / norm) if max_norm else 1.0
            for name, g in gradient.items():
                decay = weight_decay * values[name] if name == "weights" else 0.0
                velocity[name] = momentum * velocity[name] + scale * g - decay
                values[name] = values[name] + rate(epoch) * velocity[name]
            squares.append(rate(epoch) ** 2 * (velocity["weights"] ** 2).sum())
        norms.append(np.sqrt(np.mean(squares)))
    return values, norms


def compare(visible, hidden, *, rate=0.05, dtype="float64", tolerance=1e-11, **options):
    rbm = small(visible, hidden, dtype=dtype)
    data = rows_for(visible, 11, 4).astype(dtype)
    options = {"n_epochs": 3, "batch_size": 4, "momentum": 0.0, "weight_decay": 0.0, **options}
    shuffle = options.pop("shuffle", "SHUFFLE")
    result = train_exact(
        data, model=rbm, visible=visible, learning_rate=rate, rng=4, metrics=(), **options
    )
    expected, norms = reference(
        rbm, data.astype(float), key_of(4), shuffle=shuffle,
        rate=rate if callable(rate) else lambda epoch: rate, **options,
    )  # fmt: skip
    for name, found in parameters_of(result.model).items():
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(result.history["update_norm"], norms, rtol=100 * tolerance)
    assert result.chains is None
    return result


OPTIONS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "weight decay": {"weight_decay": 0.05},
    "max_norm": {"max_norm": 0.3},
    "everything": {"momentum": 0.7, "weight_decay": 0.02, "max_norm": 0.4},
    "frozen weights": {"freeze": ("weights",), "momentum": 0.5, "weight_decay": 0.1},
    "frozen visible": {"freeze": ("visible_bias",), "max_norm": 0.3},
    "frozen hidden": {"freeze": ("hidden_bias",), "max_norm": 0.3, "momentum": 0.5},
    "schedule": {"rate": lambda epoch: 0.1 / epoch, "momentum": 0.6},
    "one batch": {"batch_size": 1000},
    "batches of one": {"batch_size": 1, "n_epochs": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    ("visible", "hidden"),
    [("bernoulli", "bernoulli"), ("spin", "gaussian"), ("gaussian", "spin")],
)
def test_options(visible, hidden, options):
    """Batches of 4, 4 and a short one of 3, three epochs."""
    compare(visible, hidden, **options)


@pairs
def test_updates(visible, hidden):
    compare(visible, hidden, momentum=0.5, weight_decay=0.01)


@pairs
def test_updates_in_single_precision(visible, hidden):
    compare(visible, hidden, dtype="float32", tolerance=2e-6)


def test_the_comparison_can_fail():
    """Rows in another order are noticed."""
    with pytest.raises(AssertionError):
        compare("spin", "spin", shuffle="CHAINS")


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 1), (70, 9), (9, 70), (130, 3)])
@pytest.mark.parametrize(
    ("visible", "hidden"),
    [("bernoulli", "bernoulli"), ("spin", "spin"), ("gaussian", "bernoulli"), ("spin", "gaussian")],
)
def test_sizes(visible, hidden, n_visible, n_hidden):
    """Around the widths of words and tiles: the step is data term minus moments, in NumPy."""
    if visible != "gaussian" and hidden == "gaussian" and n_visible > n_hidden:
        n_visible, n_hidden = min(n_visible, 9), n_visible  # the discrete layer is the small one
    if visible == "gaussian" and n_hidden > n_visible:
        n_visible, n_hidden = n_hidden, n_visible
    model = adapters.random_model(visible, hidden, n_visible, n_hidden)
    rbm = adapters.to_rbm(model)
    data = rows_for(visible, 20, n_visible)
    result = train_exact(
        data, model=rbm, visible=visible, n_epochs=1, learning_rate=2.0**-6, rng=1, **PLAIN
    )
    flip = visible == "gaussian" or (hidden != "gaussian" and n_hidden < n_visible)
    first = model.swapped() if flip else model
    states = np.array(list(product(first.visible.values, repeat=first.visible.n)), float)
    log_p = -first.free_energy(states)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    h = first.mean_hidden(states)
    moments = [(states * p[:, None]).T @ h, p @ states, p @ h]
    if flip:
        moments = [moments[0].T, moments[2], moments[1]]
    positive = training.statistics(data, model.mean_hidden(data)).values()
    before, after = parameters_of(rbm), parameters_of(result.model)
    for name, plus, minus in zip(NAMES, positive, moments, strict=True):
        found = (after[name] - before[name]) * 2.0**6
        np.testing.assert_allclose(found, plus - minus, rtol=0, atol=1e-12, err_msg=name)


# ------------------------------------------------------------------------------------- the start


def binary(n_rows=60, n=8, seed=0, spin=False):
    """Correlated bits: copies of a few patterns with some units flipped."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(2, size=(4, n))
    bits = patterns[rng.integers(4, size=n_rows)] ^ (rng.random((n_rows, n)) < 0.1)
    return 2 * bits.astype(np.int8) - 1 if spin else bits.astype(np.int8)


@optimizers
@pytest.mark.parametrize("spin", [False, True])
def test_the_start_is_that_of_train_cd(spin, optimizer):
    data = binary(spin=spin)
    exactly = train_exact(data, n_hidden=5, n_epochs=0, optimizer=optimizer, rng=3)
    assert exactly.model == train_cd(data, n_hidden=5, n_epochs=0, rng=3).model
    assert exactly.info["n_updates"] == 0


def test_a_named_gaussian_hidden_layer_keeps_bias_zero():
    data = binary(spin=True)
    for optimizer in ("sgd", "lbfgs"):
        named = train_exact(data, n_hidden=2, n_epochs=2, optimizer=optimizer, rng=1)
        assert isinstance(named.model.hidden, Gaussian)
        assert (named.model.hidden.bias == 0).all()
        given = train_exact(data, hidden=Gaussian(2), n_epochs=2, optimizer=optimizer, rng=1)
        assert (given.model.hidden.bias != 0).all()


@optimizers
def test_the_callers_model_and_data_stay(optimizer):
    rbm, data = RBM(Bernoulli(8), Bernoulli(3), rng=1), binary()
    before, rows = rbm.copy(), data.copy()
    result = train_exact(data, model=rbm, n_epochs=2, optimizer=optimizer, rng=1)
    assert rbm == before
    assert result.model != rbm
    np.testing.assert_array_equal(data, rows)


@optimizers
@pytest.mark.parametrize("name", NAMES)
def test_freeze(name, optimizer):
    """What is frozen keeps its bits, everything else moves; precisions always keep theirs."""
    rbm = small("gaussian", "bernoulli", dtype="float32")
    data = np.random.default_rng(0).normal(size=(50, 4))
    before = parameters_of(rbm)
    result = train_exact(data, model=rbm, freeze=name, n_epochs=2, optimizer=optimizer, rng=1)
    after = parameters_of(result.model)
    for other in NAMES:
        assert np.array_equal(before[other], after[other]) == (other == name)
    np.testing.assert_array_equal(rbm.visible.precision, result.model.visible.precision)


@optimizers
def test_all_frozen(optimizer):
    rbm = small("bernoulli", "spin")
    result = train_exact(binary(n=4), model=rbm, freeze=NAMES, optimizer=optimizer, n_epochs=2)
    assert result.model == rbm


# ------------------------------------------------------------------------------------- the rate


def test_the_default_rate():
    """That of train_cd where it is safe, else 24 / (mean |v|^2 span^2)."""
    bits = fastrbm.datasets.bars_and_stripes(3)
    square = bits.sum(1).mean()
    for hidden, n_hidden, span in (("bernoulli", 64, 64), ("spin", 16, 64), ("gaussian", 3, 270)):
        options = {"hidden": hidden, "n_hidden": n_hidden, "n_epochs": 1, "metrics": ()}
        info = train_exact(bits, **options).info
        assert info["learning_rate"] == pytest.approx(24 / (square * span))
        info = train_exact(2 * bits - 1, **options).info
        assert info["learning_rate"] == pytest.approx(24 / (9 * span))
    small_rate = train_exact(bits, n_hidden=4, n_epochs=1).info["learning_rate"]
    assert small_rate == train_cd(bits, n_hidden=4, n_epochs=1).info["learning_rate"] == 0.3
    reals = np.random.default_rng(0).normal(0, 3, size=(50, 5))
    info = train_exact(reals, visible="gaussian", n_hidden=12, n_epochs=1).info
    assert info["learning_rate"] == pytest.approx(min(0.05, 24 / ((reals**2).sum(1).mean() * 12)))


@pytest.mark.parametrize(
    ("spin", "hidden", "n_hidden"),
    [
        (False, "bernoulli", 64), (False, "spin", 16), (False, "gaussian", 8),
        (True, "bernoulli", 16), (True, "spin", 16), (True, "gaussian", 8),
    ],
)  # fmt: skip
def test_the_default_rate_does_not_swing(spin, hidden, n_hidden):
    """600 epochs of the defaults: the likelihood rises all the way."""
    data = fastrbm.datasets.bars_and_stripes(3)
    data = 2 * data - 1 if spin else data
    values = []

    def callback(state):
        if state.epoch % 20 == 0:
            values.append(value_of(state.model, data))

    train_exact(
        data, hidden=hidden, n_hidden=n_hidden, n_epochs=600, callback=callback, metrics=(),
        rng=1, n_threads=1,
    )  # fmt: skip
    assert len(values) == 30
    assert (np.diff(values) > 0).all()
    assert values[-1] > values[0] + 0.5


# --------------------------------------------------------------------------------- what it does


def test_full_batch_ascends():
    """At a small rate without momentum every update raises the likelihood, in every pair."""
    for visible, hidden in models.PAIRS:
        rbm = small(visible, hidden)
        data = rows_for(visible, 30, 4)
        values = [value_of(rbm, data)]
        train_exact(
            data, model=rbm, visible=visible, n_epochs=40, learning_rate=0.02, rng=1,
            callback=lambda s, v=values, d=data: v.append(value_of(s.model, d)), **PLAIN,
        )  # fmt: skip
        assert (np.diff(values) > 0).all(), (visible, hidden)


@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "bernoulli"), ("gaussian", "spin")])
def test_threads_do_not_change_bits(visible, hidden):
    """Batches large enough for a team, sizes that no number of threads divides."""
    data = rows_for(visible, 6001, 13)
    options = {
        "visible": visible, "hidden": hidden, "n_hidden": 7, "n_epochs": 2, "batch_size": 5000,
        "max_norm": 0.5, "metrics": (), "rng": 1,
    }  # fmt: skip
    one = train_exact(data, n_threads=1, **options).model
    for n_threads in (2, 3, 7):
        assert train_exact(data, n_threads=n_threads, **options).model == one
    options = {"visible": visible, "hidden": hidden, "n_hidden": 7, "n_epochs": 1, "metrics": ()}
    one = train_exact(data, n_threads=1, optimizer="lbfgs", rng=1, **options).model
    assert train_exact(data, n_threads=3, optimizer="lbfgs", rng=1, **options).model == one


def test_the_method_does_not_depend_on_threads():
    methods = set()
    for n_visible in range(2, 30):
        for n_hidden in (1, 2, 3, 4, 10):
            rbm = RBM(Spin(n_visible), Gaussian(n_hidden), rng=1)
            names = {gradient_source(rbm, n_threads=k).name for k in (1, 2, 7, 64)}
            assert len(names) == 1, (n_visible, n_hidden)
            methods |= names
    assert len(methods) > 1  # there was something to choose


def test_same_seed_same_model():
    options = {"n_hidden": 4, "n_epochs": 3, "batch_size": 7}
    first = train_exact(binary(), rng=5, **options).model
    assert train_exact(binary(), rng=5, **options).model == first
    assert train_exact(binary(), rng=6, **options).model != first


def test_training_goes_on_from_a_model():
    """Without momentum two runs of full batches are one."""
    data, options = binary(), {"learning_rate": 0.1, "rng": 1, "dtype": "float64", **PLAIN}
    half = train_exact(data, n_hidden=4, n_epochs=3, **options)
    rest = train_exact(data, model=half.model, n_epochs=4, **options)
    whole = parameters_of(train_exact(data, n_hidden=4, n_epochs=7, **options).model)
    for name, found in parameters_of(rest.model).items():  # the rows came in another order
        np.testing.assert_allclose(found, whole[name], rtol=0, atol=1e-13, err_msg=name)
    after_cd = train_exact(data, model=train_cd(data, n_hidden=4, rng=1).model, n_epochs=1)
    assert after_cd.info["n_updates"] == 1


# ------------------------------------------------------------------------------------- L-BFGS


@pairs
def test_lbfgs_ends_at_the_maximum(visible, hidden):
    """The gradient of log-likelihood - weight_decay |W|^2 / 2 vanishes where it says converged."""
    rbm = small(visible, hidden)
    # Three rows too few to be fitted exactly would push biases to infinity: many rows.
    data = rows_for(visible, 200, 4)
    decay = 0.02
    result = train_exact(
        data, model=rbm, visible=visible, optimizer="lbfgs", n_epochs=100, weight_decay=decay,
        metrics=(), rng=1,
    )  # fmt: skip
    # How many epochs it takes depends on the rounding of the machine: 44 were seen.
    assert result.info["stopped"] == "converged"
    values = parameters_of(result.model)
    gradient = Likelihood(rbm).gradient(values, data)
    gradient["weights"] -= decay * values["weights"]
    for name, g in gradient.items():
        np.testing.assert_allclose(g, 0, atol=2e-6, err_msg=name)


def test_both_optimizers_meet():
    """A long run of gradient steps comes to rest where L-BFGS does."""
    rbm, data = small("bernoulli", "bernoulli"), binary(n_rows=200, n=4)
    options = {"model": rbm, "weight_decay": 0.01, "metrics": (), "rng": 1}
    quick = train_exact(data, optimizer="lbfgs", n_epochs=40, **options).model
    slow = train_exact(
        data, n_epochs=4000, learning_rate=0.5, momentum=0.9, batch_size=None, **options
    ).model
    heights = [value_of(m, data) - 0.01 / 2 * (m.weights**2).sum() for m in (slow, quick)]
    assert heights[0] == pytest.approx(heights[1], abs=1e-7)  # the units may differ by their signs


def test_lbfgs_in_single_precision():
    """The vector keeps double precision between epochs; the model is its rounding."""
    data = rows_for("bernoulli", 200, 4)
    options = {"n_epochs": 40, "weight_decay": 0.02, "metrics": (), "rng": 1, "optimizer": "lbfgs"}
    rbm = small("bernoulli", "bernoulli", dtype="float32")
    narrow = train_exact(data, model=rbm, **options)
    wide = train_exact(data, model=rbm.astype("float64"), **options)
    assert narrow.model == wide.model.astype("float32")
    assert narrow.model.dtype == np.float32


def test_lbfgs_on_probabilities():
    rbm, data = small("bernoulli", "spin"), np.random.default_rng(3).random((50, 4))
    result = train_exact(
        data, model=rbm, visible="bernoulli", optimizer="lbfgs", n_epochs=40, weight_decay=0.02,
        metrics=(), rng=1,
    )  # fmt: skip
    values = parameters_of(result.model)
    gradient = Likelihood(rbm).gradient(values, data)
    gradient["weights"] -= 0.02 * values["weights"]
    for name, g in gradient.items():
        np.testing.assert_allclose(g, 0, atol=2e-6, err_msg=name)


def test_lbfgs_goes_on_from_what_a_callback_leaves():
    def callback(state):
        state.model.weights[:] = 0
        state.model.hidden.bias[:] = 1

    options = {"model": small("bernoulli", "spin"), "optimizer": "lbfgs", "metrics": (), "rng": 1}
    result = train_exact(
        binary(n=4), n_epochs=2, callback=callback, freeze=("weights", "hidden_bias"), **options
    )
    assert (result.model.weights == 0).all()
    assert (result.model.hidden.bias == 1).all()
    spins = binary(n=4).mean(0)  # without weights the visible units are independent
    np.testing.assert_allclose(1 / (1 + np.exp(-result.model.visible.bias)), spins, atol=0.2)


def test_lbfgs_counts_iterations():
    seen = []
    result = train_exact(
        binary(), n_hidden=4, optimizer="lbfgs", n_epochs=3, rng=1,
        callback=lambda s: seen.append(s.epoch),
    )  # fmt: skip
    n = len(result.history["epoch"])
    assert seen == list(range(1, n + 1))
    assert 0 < result.info["n_updates"] <= 50 * n
    assert (result.history["learning_rate"] == 1).all()
    assert (result.history["update_norm"] > 0).all()


# ------------------------------------------------------------------- history, metrics, result


def test_history_and_info():
    result = train_exact(binary(), n_hidden=3, n_epochs=4, batch_size=20, rng=1)
    columns = ["epoch", "seconds", "metric_seconds", "learning_rate", "update_norm"]
    assert list(result.history) == [*columns, "reconstruction_error", "pseudo_likelihood"]
    assert result.info["n_updates"] == 12
    assert result.info["optimizer"] == "sgd"
    assert result.info["stopped"] == "n_epochs"
    assert result.info["method"]
    assert result.info["reason"]
    assert (
        repr(result)
        == "TrainingResult(RBM(Bernoulli(8), Bernoulli(3), dtype=float32), 4 epochs, 12 updates)"
    )


@pytest.mark.parametrize("trainer", [train_cd, train_exact])
@pytest.mark.parametrize("spin", [False, True])
def test_log_likelihood_metric(trainer, spin):
    data, held_out = binary(spin=spin), binary(n_rows=30, seed=5, spin=spin)
    options = {"n_hidden": 3, "n_epochs": 3, "rng": 1, "dtype": "float64"}
    result = trainer(data, metrics="log_likelihood", validation_data=held_out, **options)
    assert list(result.history)[5:] == ["log_likelihood", "validation_log_likelihood"]
    for name, rows in (("log_likelihood", data), ("validation_log_likelihood", held_out)):
        assert result.history[name][-1] == pytest.approx(value_of(result.model, rows), abs=1e-12)
    alone = trainer(data, metrics=["log_likelihood"], **options)
    assert list(alone.history)[5:] == ["log_likelihood"]
    np.testing.assert_array_equal(alone.history["log_likelihood"], result.history["log_likelihood"])


def test_log_likelihood_of_continuous_data():
    data = np.random.default_rng(0).normal(size=(40, 3))
    for hidden in models.UNITS:
        result = train_exact(
            data, visible="gaussian", hidden=hidden, n_hidden=2, n_epochs=2, dtype="float64",
            metrics="log_likelihood", rng=1,
        )  # fmt: skip
        expected = value_of(result.model, data)
        assert result.history["log_likelihood"][-1] == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------------------- callback and stop


@optimizers
def test_callback_stops(optimizer):
    options = {"n_hidden": 3, "optimizer": optimizer, "rng": 1}
    result = train_exact(binary(), callback=lambda s: s.epoch == 2, **options)
    assert result.history["epoch"].tolist() == [1, 2]
    assert result.info["stopped"] == "callback"
    assert result.model == train_exact(binary(), n_epochs=2, **options).model


def test_callback_may_edit_the_model():
    def callback(state):
        state.model.weights[:] = 0
        state.model.visible.bias[:] = 1

    result = train_exact(
        binary(), n_hidden=3, n_epochs=2, learning_rate=0, callback=callback, metrics=(), rng=1
    )
    assert (result.model.weights == 0).all()
    assert (result.model.visible.bias == 1).all()


@optimizers
def test_interrupted_between_epochs(optimizer):
    """The result is the state after the last whole epoch."""

    def callback(state):
        if state.epoch == 3:
            raise KeyboardInterrupt

    options = {"n_hidden": 3, "optimizer": optimizer, "rng": 1}
    with pytest.raises(Interrupted) as caught:
        train_exact(binary(), callback=callback, **options)
    result = caught.value.result
    assert result.model == train_exact(binary(), n_epochs=3, **options).model
    assert result.info["stopped"] == "interrupted"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@optimizers
def test_interrupted_within_an_epoch(optimizer):
    """Ctrl-C while gradients are computed: whole updates, and training goes on from them."""
    data = rows_for("bernoulli", 2000, 15)
    options = {"n_hidden": 15, "metrics": (), "rng": 1, "optimizer": optimizer}
    more = {"batch_size": 1, "learning_rate": 1e-3} if optimizer == "sgd" else {}
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(Interrupted) as caught:
            train_exact(data, n_epochs=10**6, **options, **more)
    finally:
        timer.cancel()
    result = caught.value.result
    assert result.info["stopped"] == "interrupted"
    assert result.info["n_updates"] > 0
    assert result.model._core.is_finite()
    start = train_exact(data, n_epochs=0, **options, **more).model
    assert result.model != start
    again = train_exact(data, model=result.model, n_epochs=1, optimizer=optimizer, metrics=(),
                        max_seconds=60, rng=1)  # fmt: skip
    assert again.model != result.model


LONG_GRADIENT = """
import sys
import numpy as np
import fastrbm
from fastrbm.training import exact

layers = {"split": (fastrbm.Bernoulli(34), fastrbm.Bernoulli(30)),
          "pairwise": (fastrbm.Spin(39), fastrbm.Gaussian(8))}
method, optimizer = sys.argv[1:]
rbm = fastrbm.RBM(*layers[method], rng=1)
chosen = exact.gradient_source

def announced(*arguments, **options):
    source = chosen(*arguments, **options)
    print("ready", flush=True)
    return source

exact.gradient_source = announced
data = np.random.default_rng(0).integers(2, size=(20, rbm.n_visible))
if rbm.visible.unit == "spin":
    data = 2 * data - 1
try:
    fastrbm.train_exact(data, model=rbm, optimizer=optimizer, metrics=(), max_seconds=1e9)
except fastrbm.Interrupted as interrupted:
    print("stopped", flush=True)
    result = interrupted.result
    print(result.info["method"], result.info["n_updates"], result.model == rbm, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@optimizers
@pytest.mark.parametrize("method", ["split", "pairwise"])
def test_interrupted_within_a_gradient(method, optimizer):
    """SIGINT while one gradient takes many seconds: back within 1 s, with the start."""
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_GRADIENT, method, optimizer],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        time.sleep(0.5)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "stopped\n", child.stderr.read()
        took = time.monotonic() - sent
        assert child.stdout.readline().split() == [method, "0", "True"]
        assert took < 1.0
    finally:
        child.kill()
        child.communicate()


# ------------------------------------------------------------------------------------ divergence


def test_divergence_keeps_the_last_good_state():
    """Every update is checked: the result is the state before the one that failed."""
    data = binary(spin=True)
    with pytest.raises(DivergenceError, match="learning_rate") as caught:
        train_exact(data, n_hidden=3, learning_rate=1e30, n_epochs=3, batch_size=10, rng=1)
    result = caught.value.result
    assert result.model._core.is_finite()
    assert len(result.history["epoch"]) == 0
    again = train_exact(data, model=result.model, n_epochs=2, rng=1)
    assert again.model._core.is_finite()


def test_two_gaussian_layers_that_leave_the_normalisable():
    data = np.random.default_rng(0).normal(0, 3, (200, 4))
    rbm = RBM(Gaussian(4), Gaussian(3), rng=1)
    with pytest.raises(DivergenceError) as caught:
        train_exact(data, model=rbm, learning_rate=0.5, n_epochs=100, batch_size=20, rng=1)
    caught.value.result.model.check_normalisable()


# -------------------------------------------------------------------------------------- sources


class MineError(Exception):
    pass


def trainer_with(source, n_rows=10):
    rbm = small("bernoulli", "bernoulli")
    data = core.Data(_lib.executor(), rbm._core, rows_for("bernoulli", n_rows, 4))
    trainer = core.Trainer(
        rbm._core, data, 0, False, False, 3, 0, 0.0, 0.0, 0.0, (), 2, source=source
    )
    return rbm, trainer


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(MineError, MineError), (KeyboardInterrupt, "stopped"), (ArithmeticError, "diverged")],
)
def test_what_a_source_raises(error, outcome):
    """In the third update of an epoch: the model is that of two updates."""
    calls = []

    def source(products, visible, hidden):
        calls.append(rbm.weights.copy())
        products[:], visible[:], hidden[:] = 0.1, 0.5, 0.5
        if len(calls) == 3:
            raise error

    rbm, trainer = trainer_with(source)
    executor = _lib.executor(2)
    if isinstance(outcome, str):
        assert trainer.epoch(executor, 1, 0.1, 7) == outcome
    else:
        with pytest.raises(outcome):
            trainer.epoch(executor, 1, 0.1, 7)
    assert trainer.n_updates == 2
    assert len(calls) == 3
    np.testing.assert_array_equal(rbm.weights, calls[2])  # the source sees the present model
    assert (calls[0] != calls[1]).any()
    assert (calls[1] != calls[2]).any()
    assert trainer.epoch(executor, 2, 0.1, 7) == "done"
    assert trainer.n_updates == 2 + 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_moments_that_are_not_finite_are_divergence(value):
    def source(products, visible, hidden):
        products[:], visible[:], hidden[:] = value, 0.5, 0.5

    rbm, trainer = trainer_with(source)
    before = rbm.copy()
    assert trainer.epoch(_lib.executor(), 1, 0.1, 7) == "diverged"
    assert rbm == before


# ------------------------------------------------------------------------------------- bad input


def test_bad_arguments():
    data = binary()
    for options, message in (
        ({"optimizer": "adam"}, "optimizer must be one of 'sgd', 'lbfgs', got 'adam'"),
        ({"optimizer": None}, "optimizer must be"),
        ({"optimizer": "lbfgs", "batch_size": 10}, "batch_size does not go with optimizer='lbfgs'"),
        ({"optimizer": "lbfgs", "learning_rate": 0.1}, "learning_rate does not go with"),
        ({"optimizer": "lbfgs", "momentum": 0.5}, "momentum does not go with"),
        ({"optimizer": "lbfgs", "max_norm": 1.0}, "max_norm does not go with"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"max_seconds": 0}, "max_seconds must be"),
        ({"max_bytes": "much"}, "max_bytes must be"),
        ({"k": 1}, "unexpected keyword"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            train_exact(data, n_hidden=3, **options)
    train_exact(data, n_hidden=3, optimizer="lbfgs", batch_size=None, n_epochs=1)


@pytest.mark.parametrize("hidden", models.UNITS)
def test_models_that_are_too_large(hidden):
    """Refused by name before any work, with states, seconds, bytes, and what would fit."""
    data = np.random.default_rng(0).integers(2, size=(50, 64))
    for call in (
        lambda: train_exact(data, hidden=hidden, n_hidden=64, rng=1),
        lambda: train_cd(data, hidden=hidden, n_hidden=64, metrics="log_likelihood", rng=1),
    ):
        with pytest.raises(fastrbm.TooLarge, match="states") as caught:
            call()
        error = caught.value
        assert isinstance(error, ValueError)
        assert error.method
        assert error.n_states >= 2**60
        assert error.seconds > 1e6
        assert error.bytes > 0


# ------------------------------------------------------------------- patterns that are to be learnt


def divergence(model, patterns):
    """KL(uniform law on the patterns || model), from the reference."""
    free = adapters.to_oracle(model).free_energy(np.asarray(patterns, float))
    states = np.array(list(product(STATES[model.visible.unit], repeat=model.n_visible)))
    all_free = adapters.to_oracle(model).free_energy(states)
    lowest = all_free.min()
    log_z = np.log(np.exp(lowest - all_free).sum()) - lowest
    return free.mean() + log_z - np.log(len(patterns))


def orthogonal_patterns():
    """+-xi_1 and +-xi_2 for two orthogonal patterns of 16 spins."""
    first = np.where(np.arange(16) < 7, 1, -1)
    second = first * np.where(np.arange(16) % 2 == 0, 1, -1)
    assert first @ second == 0
    return np.array([first, -first, second, -second])


@pytest.mark.parametrize(("n", "n_hidden"), [(3, 24), pytest.param(4, 48, marks=pytest.mark.slow)])
def test_bars_and_stripes(n, n_hidden):
    data = fastrbm.datasets.bars_and_stripes(n)
    result = train_exact(
        data, n_hidden=n_hidden, optimizer="lbfgs", weight_decay=0, metrics=(), n_epochs=40, rng=1,
        n_threads=1,
    )  # fmt: skip
    assert divergence(result.model, data) < 1e-3


def test_bars_and_stripes_by_steps():
    """Plain gradient steps get there too, given updates enough."""
    data = fastrbm.datasets.bars_and_stripes(3)
    result = train_exact(
        data, hidden="spin", n_hidden=24, n_epochs=8000, learning_rate=0.1, weight_decay=0,
        metrics=(), rng=1, n_threads=1,
    )  # fmt: skip
    assert divergence(result.model, data) < 1e-2


def test_orthogonal_patterns():
    data = orthogonal_patterns()
    result = train_exact(
        data, n_hidden=2, optimizer="lbfgs", weight_decay=0, metrics=(), n_epochs=20, rng=1,
        n_threads=1,
    )  # fmt: skip
    assert isinstance(result.model.hidden, Gaussian)
    assert divergence(result.model, data) < 1e-3
