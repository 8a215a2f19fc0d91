"""Training of flows: closed forms, what is recorded, how it ends, and how it goes on."""

import contextlib
import copy
import math
import warnings

import flow_cases as cases
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastrbm import DivergenceError, Interrupted, flows
from fastrbm.flows import adam

CONSTRUCTORS = ("planar", "radial", "nice", "real_nvp", "maf", "iaf", "nsf")


def bent(n=400, seed=0):
    """Rows of a banana: something that no affine map makes normal."""
    z = np.random.default_rng(seed).normal(size=(n, 2))
    return np.column_stack([2 * z[:, 0] + 3, z[:, 1] + z[:, 0] ** 2])


def correlated(n=400, dim=3, seed=0):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(dim, dim)) + 2 * np.eye(dim)
    return generator.normal(size=(n, dim)) @ mixing.T + generator.normal(size=dim)


def small(name="real_nvp", **options):
    return getattr(flows, name)(**{"dim": 2, "depth": 2, "width": 8, "rng": 0, **options})


def gaussian_nll(x):
    """The lowest mean of -log N(x; m, C) over m and C: that of the sample's own moments."""
    covariance = np.cov(x.T, bias=True).reshape(x.shape[1], x.shape[1])
    return 0.5 * np.linalg.slogdet(2 * math.pi * math.e * covariance)[1]


def without_seconds(history):
    return {name: array.tolist() for name, array in history.items() if name != "seconds"}


def same(one, other):
    """The same weights, state and history, bit for bit."""
    np.testing.assert_array_equal(one.flow.ravel(), other.flow.ravel())
    for name, array in one.flow.state.items():
        np.testing.assert_array_equal(other.flow.state[name], array)
    assert without_seconds(one.history) == without_seconds(other.history)
    assert one.info["best"] == other.info["best"]
    assert one.info["n_updates"] == other.info["n_updates"]


# ------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_a_linear_flow_finds_the_moments(dim):
    """By L-BFGS without whitening: mean and covariance of the sample, and its likelihood."""
    x = correlated(dim=dim)
    flow = flows.Flow(flows.LULinear(dim))
    result = flow.fit(x, optimizer="lbfgs", n_epochs=500)
    assert result.info["stopped"] == "converged"
    assert flow.nll(x) == pytest.approx(gaussian_nll(x), abs=1e-8)
    p = flow.parameters
    matrix = flow.forward(np.eye(dim))[0].T - p["shift"][:, None]
    np.testing.assert_allclose(p["shift"], x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(matrix @ matrix.T, np.cov(x.T, bias=True), atol=1e-4)


@pytest.mark.parametrize("kind", ["Whitening", "ActNorm"])
def test_layers_that_are_set_by_data_alone(kind):
    """The best normal density, or the best of independent normal entries, before any update."""
    x = correlated()
    flow = flows.Flow(getattr(flows, kind)(3))
    flow.fit(x, n_epochs=0)
    columns = [x] if kind == "Whitening" else [x[:, [i]] for i in range(3)]
    assert flow.nll(x) == pytest.approx(sum(map(gaussian_nll, columns)), abs=1e-12)
    assert np.abs(flow.nll_and_grad(x)[1]).max(initial=0) < 1e-12


def test_actnorm_alone_is_found_by_training():
    x = correlated(dim=2)
    flow = flows.Flow(flows.Chain([flows.Elementwise(2, flows.Affine())]))
    flow.fit(x, optimizer="lbfgs", n_epochs=200)
    assert flow.nll(x) == pytest.approx(sum(gaussian_nll(x[:, [i]]) for i in range(2)), abs=1e-8)


def test_an_energy_that_is_gaussian():
    """Reverse KL to a normal density, in closed form, after training of a linear flow."""
    mean = np.array([1.0, -2.0])
    covariance = np.array([[2.0, 0.8], [0.8, 0.5]])
    precision = np.linalg.inv(covariance)

    def log_density(x):
        centred = x - mean
        return 7.0 - 0.5 * (centred @ precision * centred).sum(axis=1), -centred @ precision

    flow = flows.Flow(flows.LULinear(2))
    result = flow.fit_energy(log_density, n_steps=1500, batch_size=128, learning_rate=0.03, rng=1)
    shift = flow.parameters["shift"]
    matrix = flow.forward(np.eye(2))[0].T - shift[:, None]
    ratio = precision @ matrix @ matrix.T
    gap = shift - mean
    divergence = 0.5 * (np.trace(ratio) - 2 + gap @ precision @ gap - np.linalg.slogdet(ratio)[1])
    assert divergence < 1e-3
    # The objective is the divergence minus log Z.
    log_z = 7 + 0.5 * np.linalg.slogdet(2 * math.pi * covariance)[1]
    assert result.history["objective"][-1] == pytest.approx(divergence - log_z, abs=2e-3)
    assert result.history["ess"][-1] > 0.99
    assert result.history["ess"][0] < result.history["ess"][-1]


def test_conditions_are_learnt():
    """x = 3 c + noise: the flow knows where it is when it is told c."""
    generator = np.random.default_rng(0)
    context = generator.normal(size=(600, 1))
    x = np.column_stack([3 * context[:, 0], -context[:, 0]]) + 0.5 * generator.normal(size=(600, 2))
    entropy = 2 * 0.5 * math.log(2 * math.pi * math.e * 0.25)
    flow = small("maf", context_dim=1)
    flow.fit(x, context=context, n_epochs=150, learning_rate=0.01, rng=1)
    assert flow.nll(x, context=context) < entropy + 0.1
    assert flow.nll(x, context=context[::-1]) > flow.nll(x, context=context) + 1
    for c in (-1.0, 1.0):
        drawn = flow.sample(2000, rng=2, context=[c])
        np.testing.assert_allclose(drawn.mean(axis=0), [3 * c, -c], atol=0.2)


# ----------------------------------------------------------------------------- progress and history


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_training_helps(name):
    x = bent()
    flow = small(name)
    flow.fit(x, n_epochs=0)
    assert flow.nll(x) == pytest.approx(gaussian_nll(x), abs=1e-9)  # whitened, else the identity
    before = flow.nll(x)
    result = flow.fit(x, n_epochs=25, batch_size=50, learning_rate=0.01, rng=1)
    assert flow.nll(x) < before - 0.02
    assert result.flow is flow
    assert math.isfinite(flow.log_prob([[1e3, -1e3]])[0])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("validation", [False, True])
def test_history_of_fit(optimizer, validation):
    x, flow = bent(), small("maf")
    result = flow.fit(
        x, n_epochs=4, batch_size=150, optimizer=optimizer, rng=1,
        validation_data=bent(90, seed=1) if validation else None,
    )  # fmt: skip
    names = ["epoch", "nll", "learning_rate", "gradient_norm", "seconds"]
    names[2:2] = ["validation_nll"] if validation else []
    assert list(result.history) == names
    for array in result.history.values():
        assert array.dtype == np.float64
        assert array.shape == (4,)
        assert np.isfinite(array).all()
    assert result.history["epoch"].tolist() == [1, 2, 3, 4]
    assert (result.history["seconds"] > 0).all()
    info = result.info
    assert (info["optimizer"], info["stopped"]) == (optimizer, "finished")
    assert info["n_updates"] == (12 if optimizer == "adam" else 4)
    assert info["n_parameters"] == flow.n_parameters
    assert 1 <= info["best"] <= 4
    assert set(info["versions"]) >= {"fastrbm", "numpy", "scipy"}
    assert repr(result) == f"FlowResult(4 epochs, {info['n_updates']} updates, finished)"


def test_history_of_fit_energy():
    """An entry for each hundred steps and for the rest."""
    result = small("planar").fit_energy(quadratic, n_steps=250, batch_size=20, rng=1)
    assert list(result.history) == [
        "step", "objective", "ess", "learning_rate", "gradient_norm", "seconds",
    ]  # fmt: skip
    assert result.history["step"].tolist() == [100, 200, 250]
    assert result.info["n_updates"] == 250
    assert ((result.history["ess"] > 0) & (result.history["ess"] <= 1)).all()


def quadratic(x):
    """The log-density of N(0, 4), up to a constant, and its gradient."""
    return -0.125 * (x**2).sum(axis=1), -0.25 * x


def test_no_epochs_and_no_steps():
    flow = small("planar")
    before = flow.ravel()
    result = flow.fit(bent(), n_epochs=0)
    assert [len(array) for array in result.history.values()] == [0] * len(result.history)
    assert flow.state["2.set"] == 1
    result = flow.fit_energy(quadratic, n_steps=0)
    assert result.info["n_updates"] == 0
    np.testing.assert_array_equal(flow.ravel(), before)
    flow.fit(bent(), n_epochs=2, learning_rate=0)
    np.testing.assert_array_equal(flow.ravel(), before)


def test_the_mean_of_an_epoch():
    """history's nll is the mean over all rows: with rate 0 that of the flow."""
    x, flow = bent(101), small()
    cases.fill(flow)
    expected = flow.nll(x)
    result = flow.fit(x, n_epochs=2, batch_size=30, learning_rate=0)
    np.testing.assert_allclose(result.history["nll"], expected, rtol=1e-12)
    norm = np.linalg.norm(flow.nll_and_grad(x)[1])
    result = flow.fit(x, n_epochs=1, batch_size=101, learning_rate=0, max_norm=1e-3)
    assert result.history["gradient_norm"][0] == pytest.approx(norm, rel=1e-12)  # before clipping


def test_clipping_changes_the_way(monkeypatch):
    """What Adam sees is at most max_norm long, and in the direction of the gradient."""
    seen = []
    step = adam.Adam.step

    def spy(self, theta, gradient, rate):
        seen.append(gradient.copy())
        return step(self, theta, gradient, rate)

    monkeypatch.setattr(adam.Adam, "step", spy)
    x = bent()
    for max_norm in (None, 0.01):
        cases.fill(flow := small())
        flow.fit(x, n_epochs=1, batch_size=400, max_norm=max_norm, rng=1)
    whole, clipped = seen
    assert np.linalg.norm(whole) > 0.01
    assert np.linalg.norm(clipped) == pytest.approx(0.01)
    np.testing.assert_allclose(clipped * np.linalg.norm(whole) / 0.01, whole, rtol=1e-9)


def test_the_gradient_of_fit_energy(monkeypatch):
    """Of the mean of log q - beta log p over the draws that were made, by differences."""
    seen, drawn = [], []
    monkeypatch.setattr(
        adam.Adam, "step", lambda self, theta, gradient, rate: seen.append(gradient.copy())
    )

    def log_density(x):
        drawn.append(x.copy())
        return np.sin(x).sum(axis=1) - (x**2).sum(axis=1), np.cos(x) - 2 * x

    flow = cases.fill(small("maf", activation="tanh", depth=1))
    theta = flow.ravel()
    flow.fit_energy(
        log_density, n_steps=1, batch_size=7, anneal=lambda step: 0.3, max_norm=None, rng=1
    )
    z = flow.inverse(drawn[0])[0]
    d = np.random.default_rng(0).normal(size=theta.shape) / np.sqrt(theta.size)

    def objective(t):
        flow.unravel(theta + t * d)
        x, log_det = flow.forward(z)
        return (flow.base.log_prob(z) - log_det - 0.3 * log_density(x)[0])[:, None]

    numeric = cases.Differences(objective).slope.mean()
    assert seen[0] @ d == pytest.approx(numeric, abs=1e-9)


# -------------------------------------------------------------------------------- rates and batches


def rates(schedule, n_epochs=8, **options):
    x, flow = bent(100), small()
    return flow.fit(
        x, n_epochs=n_epochs, batch_size=25, schedule=schedule, learning_rate=0.01, **options
    ).history["learning_rate"]


def test_rates_decay_to_zero():
    """Each entry is the rate at the start of its epoch."""
    over = np.arange(8) / 8
    np.testing.assert_allclose(rates("cosine"), 0.005 * (1 + np.cos(np.pi * over)), atol=1e-15)
    np.testing.assert_allclose(rates("linear"), 0.01 * (1 - over), atol=1e-15)
    np.testing.assert_array_equal(rates("constant"), np.full(8, 0.01))
    by_default = small().fit(bent(100), n_epochs=8, batch_size=25, learning_rate=0.01)
    np.testing.assert_array_equal(by_default.history["learning_rate"], rates("cosine"))


def test_a_schedule_of_ones_own():
    """It sees the part of the run that is over, update after update, and gives the factor."""
    asked = set()

    def schedule(part):
        asked.add(part)
        return 2.0 if part < 0.5 else 0.0

    np.testing.assert_array_equal(rates(schedule), [0.02] * 4 + [0.0] * 4)
    assert {k / 32 for k in range(32)} <= asked
    assert min(asked) == 0


def batches_of(flow, x, monkeypatch, **options):
    """The batches, epoch after epoch, that a fit asked gradients of."""
    seen = []
    inner = type(flow)._nll_and_grad

    def spy(self, x, *arguments, **more):
        seen.append(x.copy())
        return inner(self, x, *arguments, **more)

    monkeypatch.setattr(type(flow), "_nll_and_grad", spy)
    result = flow.fit(x, **options)
    monkeypatch.undo()
    count = result.info["n_updates"] // len(result.history["epoch"])
    return [seen[i : i + count] for i in range(0, len(seen), count)]


@pytest.mark.parametrize(
    ("n", "batch_size", "count"),
    [(257, 256, 2), (100, 33, 4), (10, 100, 1), (64, 16, 4), (7, 1, 7)],
)
def test_batches_are_even(n, batch_size, count, monkeypatch):
    """No tiny batch at the end of an epoch, and every row once, in another order each time."""
    x = bent(n)
    epochs = batches_of(small(), x, monkeypatch, n_epochs=2, batch_size=batch_size, rng=3)
    assert len(epochs) == 2
    for batches in epochs:
        assert len(batches) == count
        sizes = [len(batch) for batch in batches]
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
        np.testing.assert_array_equal(np.sort(np.concatenate(batches), axis=0), np.sort(x, axis=0))
    first, second = (np.concatenate(batches) for batches in epochs)
    assert (first != x).any()
    assert (first != second).any()


def test_rows_and_contexts_stay_together(monkeypatch):
    context = np.arange(50.0)[:, None]
    x = np.column_stack([context[:, 0] + 0.25, -context[:, 0]])
    flow = small(context_dim=1)
    seen = []
    inner = type(flow)._nll_and_grad

    def spy(self, x, context, **more):
        seen.append((x[:, 0] - context[:, 0]).copy())
        return inner(self, x, context, **more)

    monkeypatch.setattr(type(flow), "_nll_and_grad", spy)
    flow.fit(x, context=context, n_epochs=2, batch_size=20)
    np.testing.assert_allclose(np.concatenate(seen), 0.25)


# -------------------------------------------------------------------------------- the best of a run


@pytest.mark.parametrize("normalization", [None, "actnorm", "batchnorm"])
def test_a_flow_that_overfits_ends_with_its_best(normalization):
    """The weights, and the statistics that belong to them, of the best epoch of validation."""
    x, held_out = bent(25), bent(300, seed=1)
    flow = small(normalization=normalization, width=32)
    thetas = []
    result = flow.fit(
        x, n_epochs=300, batch_size=5, learning_rate=0.02, validation_data=held_out, patience=15,
        schedule="constant", callback=lambda state: thetas.append(state.flow.ravel()), rng=1,
    )  # fmt: skip
    curve = result.history["validation_nll"]
    best = result.info["best"]
    assert result.info["stopped"] == "patience"
    assert len(curve) == best + 15 == len(thetas)
    assert curve.argmin() + 1 == best
    assert curve[-1] > curve.min() + 0.05  # it did overfit
    np.testing.assert_array_equal(flow.ravel(), thetas[best - 1])
    assert flow.nll(held_out) == pytest.approx(curve.min(), rel=1e-13)


def test_the_best_without_held_out_rows():
    """That with the lowest nll of its epoch; a rate that is too high makes it not the last."""
    flow, thetas = small(), []
    result = flow.fit(
        bent(60), n_epochs=30, batch_size=20, learning_rate=0.3, schedule="constant",
        callback=lambda state: thetas.append(state.flow.ravel()), rng=2,
    )  # fmt: skip
    best = result.history["nll"].argmin()
    assert best < 29
    assert result.info["best"] == best + 1
    np.testing.assert_array_equal(flow.ravel(), thetas[best])


def test_the_best_of_an_energy():
    flow, thetas = small("planar"), []
    result = flow.fit_energy(
        quadratic, n_steps=600, batch_size=4, learning_rate=0.2, schedule="constant", rng=2,
        callback=lambda state: thetas.append(state.flow.ravel()),
    )  # fmt: skip
    best = result.history["objective"].argmin()
    assert result.info["best"] == best + 1
    np.testing.assert_array_equal(flow.ravel(), thetas[best])


def test_held_out_rows_are_never_trained_on():
    """With and without them the weights go the same way."""
    ways = []
    for held_out in (None, bent(50, seed=1), bent(50, seed=2) + 9):
        way = []
        small().fit(
            bent(100), n_epochs=3, validation_data=held_out, rng=1,
            callback=lambda state, way=way: way.append(state.flow.ravel()),
        )  # fmt: skip
        ways.append(way)
    for way in ways[1:]:
        np.testing.assert_array_equal(way, ways[0])


# ---------------------------------------------------------------------------------------- callbacks


def test_callbacks_see_and_stop():
    seen = []

    def callback(state):
        seen.append(
            (state.epoch, state.flow.ravel(), {k: len(v) for k, v in state.history.items()})
        )
        return state.epoch == 3

    flow = small()
    result = flow.fit(bent(), n_epochs=10, callback=callback, rng=1)
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert result.info["stopped"] == "callback"
    assert len(result.history["nll"]) == 3
    assert [set(lengths.values()) for _, _, lengths in seen] == [{1}, {2}, {3}]
    assert (seen[0][1] != seen[1][1]).any()

    steps = []
    flow.fit_energy(
        quadratic, n_steps=1000, batch_size=5, rng=1,
        callback=lambda state: (steps.append(state.step), np.bool_(state.step == 200))[1],
    )  # fmt: skip
    assert steps == [100, 200]


def test_callbacks_may_set_weights():
    """Training goes on from there."""
    flow = small()
    target = cases.fill(small()).ravel()

    def callback(state):
        if state.epoch == 1:
            state.flow.unravel(target)

    way = []
    flow.fit(
        bent(), n_epochs=2, learning_rate=1e-9, rng=1,
        callback=lambda state: (callback(state), way.append(state.flow.ravel()))[0],
    )  # fmt: skip
    np.testing.assert_allclose(way[1], target, atol=1e-7)


def test_errors_of_callbacks_are_theirs():
    """They come out as they are; the flow has the best weights so far."""
    flow = small()

    def callback(state):
        if state.epoch == 2:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        flow.fit(bent(), n_epochs=5, callback=callback, rng=1)
    assert np.isfinite(flow.ravel()).all()
    assert flow.nll(bent()) < gaussian_nll(bent())


# ----------------------------------------------------------------- ends in the middle, and going on

RUNS = {
    "real_nvp": {},
    "validation": {"validation_data": bent(50, seed=1), "patience": 50},
    "batchnorm": {"flow": {"name": "maf", "normalization": "batchnorm"}},
    "actnorm": {"flow": {"normalization": "actnorm"}},
    "float32": {"flow": {"name": "nsf", "dtype": "float32"}},
    "constant rate": {"schedule": "constant", "max_norm": None},
}
runs = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def started(run, **more):
    """A fresh flow and the options of its fit."""
    options = {"n_epochs": 6, "batch_size": 40, "learning_rate": 0.02, "rng": 5, **run, **more}
    return small(**options.pop("flow", {})), options


def one_go(run):
    flow, options = started(run)
    return flow.fit(bent(120), **options)


@runs
@pytest.mark.parametrize("stop", [1, 4])
def test_stopped_and_resumed(run, stop):
    """k epochs and the rest give the bits of all in one go; as often as one likes."""
    expected = one_go(run)
    flow, options = started(run, callback=lambda state: state.epoch == stop)
    result = flow.fit(bent(120), **options)
    assert len(result.history["epoch"]) == stop
    options["callback"] = None
    for rng in (5, 99):  # the key is that of the first run
        again = copy.deepcopy(flow)
        same(again.fit(bent(120), **{**options, "resume": result, "rng": rng}), expected)
    same(flow.fit(bent(120), **{**options, "resume": result}), expected)


@runs
def test_interrupted_in_a_callback(run):
    expected = one_go(run)

    def callback(state):
        if state.epoch == 3:
            raise KeyboardInterrupt

    flow, options = started(run, callback=callback)
    with pytest.raises(Interrupted, match="interrupted after 3 of 6 epochs") as caught:
        flow.fit(bent(120), **options)
    result = caught.value.result
    assert result.info["stopped"] == "interrupted"
    assert result.flow is flow
    assert np.isfinite(flow.ravel()).all()
    same(flow.fit(bent(120), **{**options, "callback": None, "resume": result}), expected)


@runs
@pytest.mark.parametrize("call", [1, 2, 8, 18])
def test_interrupted_in_an_epoch(run, call, monkeypatch):
    """Before any update, in the first epoch, in a later one, in the very last update."""
    expected = one_go(run)
    flow, options = started(run)
    interrupt_at(monkeypatch, flow, call)
    with pytest.raises(Interrupted) as caught:
        flow.fit(bent(120), **options)
    monkeypatch.undo()
    result = caught.value.result
    assert len(result.history["epoch"]) == (call - 1) // 3
    assert not any(getattr(layer, "of_batch", False) for layer in flow.bijection.modules())
    same(flow.fit(bent(120), **{**options, "resume": result}), expected)


def interrupt_at(monkeypatch, flow, call, error=KeyboardInterrupt):
    """Make the call-th gradient raise."""
    inner, count = type(flow)._nll_and_grad, [0]

    def interrupted(self, *arguments, **options):
        count[0] += 1
        if count[0] == call:
            raise error
        return inner(self, *arguments, **options)

    monkeypatch.setattr(type(flow), "_nll_and_grad", interrupted)


def test_what_an_interrupted_run_leaves_is_the_best():
    """The weights of the epoch with the lowest nll, not those that were in the middle."""
    flow, thetas = small(), []

    def callback(state):
        thetas.append(state.flow.ravel())
        if state.epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        flow.fit(bent(), n_epochs=9, callback=callback, rng=1)
    result = caught.value.result
    best = result.history["nll"].argmin()
    np.testing.assert_array_equal(flow.ravel(), thetas[best])
    assert result.info["best"] == best + 1


def test_a_run_that_is_over_is_not_resumed():
    flow, options = started({})
    result = flow.fit(bent(120), **options)
    same(flow.fit(bent(120), **{**options, "resume": result}), result)


ENERGY = {"n_steps": 500, "batch_size": 10, "learning_rate": 0.01, "rng": 5}


@pytest.mark.parametrize("how", ["callback", "interrupted callback", "interrupted step"])
def test_energies_stopped_and_resumed(how):
    options = {**ENERGY, "anneal": lambda step: min(1.0, 0.1 + step / 400)}
    expected = small("planar").fit_energy(quadratic, **options)
    flow, calls = small("planar"), [0]

    def log_density(x):
        calls[0] += 1
        if how == "interrupted step" and calls[0] == 250:
            raise KeyboardInterrupt
        return quadratic(x)

    def callback(state):
        if state.step == 200 and how == "interrupted callback":
            raise KeyboardInterrupt
        return state.step == 200 and how == "callback"

    if how == "callback":
        result = flow.fit_energy(log_density, **options, callback=callback)
    else:
        with pytest.raises(Interrupted) as caught:
            flow.fit_energy(log_density, **options, callback=callback)
        result = caught.value.result
    assert result.history["step"].tolist() == [100, 200]
    same(flow.fit_energy(quadratic, **options, resume=result), expected)


def test_lbfgs_goes_on_from_its_weights():
    x = bent()
    flow = small("maf", activation="tanh")
    result = flow.fit(x, optimizer="lbfgs", n_epochs=30, callback=lambda state: state.epoch == 5)
    assert result.info["stopped"] == "callback"
    assert len(result.history["nll"]) == 5
    before = flow.nll(x)
    assert before == pytest.approx(result.history["nll"][-1], rel=1e-12)
    result = flow.fit(x, optimizer="lbfgs", n_epochs=30, resume=result)
    assert result.history["epoch"].tolist() == list(range(1, len(result.history["epoch"]) + 1))
    assert len(result.history["epoch"]) > 5
    assert flow.nll(x) < before
    assert (np.diff(result.history["nll"]) < 1e-9).all()  # L-BFGS only ever goes down


def test_lbfgs_is_interrupted(monkeypatch):
    flow = small()
    interrupt_at(monkeypatch, flow, 6)
    with pytest.raises(Interrupted) as caught:
        flow.fit(bent(), optimizer="lbfgs", n_epochs=30)
    monkeypatch.undo()
    done = len(caught.value.result.history["epoch"])
    assert 1 <= done < 6
    assert flow.nll(bent()) == pytest.approx(caught.value.result.history["nll"].min(), rel=1e-12)


# --------------------------------------------------------------------------------------- divergence


def test_gradients_that_are_not_finite(monkeypatch):
    """The run ends with an error that holds the best so far, which the flow has as well."""
    flow = small()
    inner, count = type(flow)._nll_and_grad, [0]

    def poisoned(self, *arguments, **options):
        nll, gradient = inner(self, *arguments, **options)
        count[0] += 1
        if count[0] == 8:
            gradient[3] = np.nan
        return nll, gradient

    monkeypatch.setattr(type(flow), "_nll_and_grad", poisoned)
    with pytest.raises(DivergenceError, match="diverged after 2 epochs") as caught:
        flow.fit(bent(120), n_epochs=6, batch_size=40, rng=1)
    monkeypatch.undo()
    result = caught.value.result
    assert result.info["stopped"] == "diverged"
    assert len(result.history["epoch"]) == 2
    assert np.isfinite(flow.ravel()).all()
    assert math.isfinite(flow.nll(bent(120)))
    # A better rate, and it goes on.
    result = flow.fit(bent(120), n_epochs=6, batch_size=40, rng=1, resume=result)
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", CONSTRUCTORS)
@pytest.mark.parametrize("rate", [1e3, 1e150])
def test_rates_that_are_far_too_high(name, rate):
    """Whatever comes of them: no warning of NumPy, and a flow that can be used."""
    flow = small(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(DivergenceError):
            flow.fit(bent(120), n_epochs=4, batch_size=40, learning_rate=rate, rng=1)
    assert np.isfinite(flow.ravel()).all()
    assert math.isfinite(flow.nll(bent(120)))


def test_rates_that_are_far_too_high_on_threads():
    """What NumPy would warn of is as quiet there."""
    x = correlated(600, 20)
    for name in ("real_nvp", "maf"):
        flow = small(name, dim=20)
        with warnings.catch_warnings(), threadpool_limits(2, user_api="blas"):
            warnings.simplefilter("error")
            with contextlib.suppress(DivergenceError):
                flow.fit(x, n_epochs=4, batch_size=600, learning_rate=1e200, rng=1)
        assert math.isfinite(flow.nll(x))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_energies_that_are_not_finite(part, value):
    """In values or gradients, in one row of one step."""
    flow, calls = small("planar"), [0]

    def log_density(x):
        answer = quadratic(x)
        calls[0] += 1
        if calls[0] == 150:
            answer[part].flat[2] = value
        return answer

    with pytest.raises(DivergenceError) as caught:
        flow.fit_energy(log_density, **ENERGY)
    assert caught.value.result.history["step"].tolist() == [100]
    assert np.isfinite(flow.ravel()).all()


# ----------------------------------------------------------------------------- layers that see data


def test_whitening_has_the_moments_of_the_data():
    x = correlated(500, 4)
    flow = flows.Flow(flows.Chain([flows.Planar(4, rng=0), flows.Whitening(4)]))
    flow.fit(x, n_epochs=0)
    np.testing.assert_allclose(flow.state["1.mean"], x.mean(axis=0), rtol=1e-13)
    factor = flow.state["1.factor"]
    np.testing.assert_allclose(factor @ factor.T, np.cov(x.T, bias=True), rtol=1e-11)
    assert (np.triu(factor, 1) == 0).all()
    assert flow.state["1.set"] == 1
    # Set once: other data later do not move it.
    flow.fit(3 * x + 1, n_epochs=1)
    np.testing.assert_array_equal(flow.state["1.factor"], factor)


def test_whitening_is_on_the_side_of_the_data():
    """Within a chain it sees what the layers after it make of the data; inverted, the converse."""
    x = np.exp(correlated(500, 2) / 3)
    outer = flows.Elementwise(2, flows.Exp())
    chains = (
        flows.Chain([flows.Whitening(2), outer]),
        flows.Invert(flows.Chain([flows.Invert(outer), flows.Invert(flows.Whitening(2))])),
        flows.Invert(flows.Chain([flows.Elementwise(2, flows.Softplus()), flows.Whitening(2)])),
    )
    for bijection in chains[:2]:
        flow = flows.Flow(bijection)
        flow.fit(x, n_epochs=0)
        z = flow.inverse(x)[0]
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(2), atol=1e-12)
    # Here data meet the other side of the whitening, after a softplus: y = mean + L x is white.
    flow = flows.Flow(chains[2])
    flow.fit(x, n_epochs=0)
    white = chains[2].bijection.layers[1].forward(chains[2].bijection.layers[0].forward(x)[0])[0]
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(2), atol=1e-12)


@pytest.mark.parametrize("kind", ["dependent", "few rows", "nearly dependent"])
def test_whitening_of_data_without_a_covariance(kind):
    """Standard deviations alone, and a density that is finite."""
    x = correlated(200, 3)
    if kind == "few rows":
        x = x[:3]
    else:
        x[:, 2] = x[:, 0] - 2 * x[:, 1] + (1e-7 * x[:, 2] if kind == "nearly dependent" else 0)
    flow = flows.Flow(flows.Whitening(3))
    flow.fit(x, n_epochs=0)
    np.testing.assert_allclose(flow.state["factor"], np.diag(x.std(axis=0)), rtol=1e-10)
    assert math.isfinite(flow.nll(x))


def test_whitening_of_scales_that_differ():
    """A column of 1e-8 beside one of 1e8, far from zero: to rounding of the data."""
    x = correlated(500, 2) * [1e-8, 1e8] + [1.0, -1e9]
    flow = flows.Flow(flows.Whitening(2))
    flow.fit(x, n_epochs=0)
    z = flow.inverse(x)[0]
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(2), atol=1e-6)


def test_actnorm_starts_from_the_data():
    """Every one of them: what it gives to the next layer is standard. Set once, trained then."""
    x = bent()
    flow = cases.fill(small(normalization="actnorm", activation="tanh"))
    for name, array in flow.state.items():
        if name.endswith("set"):
            array[:] = 0
    flow.fit(x, n_epochs=0)
    layers, z = flow.bijection.layers, x
    for layer in reversed(layers):
        z = layer.inverse(z)[0]
        if isinstance(layer, flows.ActNorm):
            np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
            np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)
    before = layers[1].parameters["shift"].copy()
    flow.fit(x, n_epochs=1, rng=1)
    assert (layers[1].parameters["shift"] != before).all()
    moved = layers[1].parameters["shift"].copy()
    flow.fit(5 * x + 3, n_epochs=0)
    np.testing.assert_array_equal(layers[1].parameters["shift"], moved)


def test_actnorm_turned_round():
    """Inverted, data meet its other side, and that is what becomes standard."""
    x = bent()
    flow = flows.Flow(flows.Invert(flows.ActNorm(2)))
    flow.fit(x, n_epochs=0)
    z = flow.inverse(x)[0]
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("name", ["real_nvp", "maf"])
def test_batchnorm_has_the_moments_of_the_training_set(name):
    """Of all rows, with the weights that the flow ends with, whatever the last batch was."""
    x = bent(130)
    flow = small(name, normalization="batchnorm", depth=3)
    flow.fit(x, n_epochs=5, batch_size=50, learning_rate=0.01, rng=1)
    seen, z = 0, x
    for layer in reversed(flow.bijection.layers):
        if isinstance(layer, flows.BatchNorm):
            seen += 1
            np.testing.assert_allclose(layer.state["mean"], z.mean(axis=0), rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(
                layer.state["deviation"], np.sqrt(z.var(axis=0) + 1e-5), rtol=1e-10
            )
        z = layer.inverse(z)[0]
    assert seen == 3


def test_batchnorm_after_a_run_without_a_best_before_the_last():
    """As above, where the last epoch is the best, of one batch: the weights moved after it."""
    x = bent(130)
    flow = flows.Flow(flows.Chain([flows.BatchNorm(2), flows.LULinear(2)]))
    result = flow.fit(x, n_epochs=5, batch_size=130, learning_rate=0.01, rng=1)
    assert result.info["best"] == 5
    z = flow.bijection.layers[1].inverse(x)[0]
    np.testing.assert_allclose(flow.state["0.mean"], z.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(flow.state["0.deviation"], np.sqrt(z.var(axis=0) + 1e-5), rtol=1e-12)


def test_batchnorm_before_and_after_its_statistics():
    """`fit` with no epochs takes them; a resumed or a later fit takes new ones."""
    x = bent(130)
    flow = flows.Flow(flows.BatchNorm(2))
    flow.fit(x, n_epochs=0)
    np.testing.assert_allclose(flow.state["mean"], x.mean(axis=0), rtol=1e-13)
    flow.fit(x + 1, n_epochs=0)
    np.testing.assert_allclose(flow.state["mean"], x.mean(axis=0) + 1, rtol=1e-13)


def test_batchnorm_the_other_way_round_is_refused():
    """It would stay the identity; the flow is left as it was."""
    flow = flows.Flow(flows.Chain([flows.Invert(flows.BatchNorm(2)), flows.Whitening(2)]))
    before = flow.snapshot()
    with pytest.raises(ValueError, match="BatchNorm must not be within Invert"):
        flow.fit(bent(130), n_epochs=1)
    for array, kept in zip(flow.snapshot(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("normalization", [None, "actnorm"])
def test_fit_after_fit_energy_keeps_what_was_trained(normalization):
    """Neither whitening nor ActNorm take other numbers under layers that are trained."""

    def log_density(x):
        return -0.5 * (((x - 3) / 0.2) ** 2).sum(axis=1), -(x - 3) / 0.04

    flow = small("real_nvp", normalization=normalization)
    flow.fit_energy(log_density, n_steps=200, batch_size=64, learning_rate=1e-2, rng=1)
    x = 3 + 0.2 * np.random.default_rng(2).normal(size=(500, 2))
    before = flow.nll(x)
    flow.fit(x, n_epochs=0)
    assert flow.nll(x) == before


@pytest.mark.parametrize("kind", [flows.Planar, flows.Radial])
def test_residual_layers_of_a_new_conditioner_are_trained(kind):
    """At raw parameters of zero a planar layer would have no gradient, and stay the identity."""
    generator = np.random.default_rng(0)
    x, context = generator.normal(size=(50, 2)) + 1, generator.normal(size=(50, 1))
    for conditioner in (
        flows.MLP(1, [4], kind.raw_size(2), rng=0),
        flows.Constant(kind.raw_size(2)),
    ):
        flow = flows.Flow(kind(2, conditioner, rng=1))
        given = {"context": context} if flow.context_dim else {}
        np.testing.assert_allclose(flow.forward(x, **given)[0], x, rtol=0, atol=1e-15)
        assert np.abs(flow.nll_and_grad(x, **given)[1]).max() > 1e-3


def test_lbfgs_goes_back_from_beyond_the_support():
    """A trial step that puts rows outside is no divergence."""
    x = np.exp(np.random.default_rng(0).normal(size=(500, 2)))
    layers = [flows.LULinear(2), flows.Elementwise(2, flows.Exp()), flows.LULinear(2)]
    flow = flows.Flow(flows.Chain(layers))
    before = flow.nll(x)
    flow.fit(x, optimizer="lbfgs", n_epochs=20)
    assert flow.nll(x) < before


def test_resume_checks_the_weights_of_the_former_run():
    """A new flow has another support until it has those."""

    def flow(shift):
        layers = [flows.LULinear(2), flows.Elementwise(2, flows.Exp()), flows.LULinear(2)]
        made = flows.Flow(flows.Chain(layers))
        made.parameters["2.shift"][:] = shift
        return made

    x = np.exp(np.random.default_rng(0).normal(size=(300, 2))) - 5
    whole, half, fresh = flow(-5.5), flow(-5.5), flow(0.0)
    whole.fit(x, n_epochs=4, rng=0)
    part = half.fit(x, n_epochs=4, rng=0, callback=lambda state: state.epoch == 2)
    fresh.fit(x, n_epochs=4, rng=0, resume=part)
    np.testing.assert_array_equal(fresh.ravel(), whole.ravel())


def test_gradients_go_through_the_statistics_of_a_batch():
    """Mean and deviation move with every row: by differences of the sum over all rows."""
    s = cases.LAYERS["BatchNorm"].subject(3)
    layer, u, (_, w) = s.bijection, *(cases.cotangents(s)[:1]), cases.cotangents(s)
    layer.of_batch = True
    _, _, tape = layer.inverse_tape(s.y)
    by_y, _, by_parameters = layer.backward(tape, u, w)
    d = np.random.default_rng(1).normal(size=s.y.shape)

    def loss(y):
        z, log_det = layer.inverse(y)
        return np.array([[(u * z).sum() + (w * log_det).sum()]])

    slope = cases.Differences(lambda t: loss(s.y + t * d)).slope
    assert (by_y * d).sum() == pytest.approx(slope[0, 0], abs=1e-9)
    for name, array in layer.parameters.items():
        original, direction = array.copy(), np.random.default_rng(2).normal(size=array.shape)

        def moved(t, array=array, original=original, direction=direction):
            array[:] = original + t * direction
            answer = loss(s.y)
            array[:] = original
            return answer

        slope = cases.Differences(moved).slope
        assert (by_parameters[name] * direction).sum() == pytest.approx(slope[0, 0], abs=1e-9)
    assert s.bijection.inverse(s.y)[0].mean(axis=0) == pytest.approx(layer.parameters["shift"])


# --------------------------------------------------------------------------- seeds, types, the rest


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_seeds_of_fit(optimizer):
    def trained(rng):
        return small().fit(bent(), n_epochs=2, rng=rng, optimizer=optimizer)

    same(trained(3), trained(3))
    if optimizer == "adam":
        assert (trained(3).flow.ravel() != trained(4).flow.ravel()).any()
        generator = np.random.default_rng(3)
        same(trained(generator), trained(3))
        assert (trained(generator).flow.ravel() != trained(3).flow.ravel()).any()


def test_seeds_of_fit_energy():
    def trained(rng):
        return small("iaf").fit_energy(quadratic, n_steps=100, batch_size=5, rng=rng)

    same(trained(3), trained(3))
    assert (trained(3).flow.ravel() != trained(4).flow.ravel()).any()


def test_draws_of_fit_energy_are_fresh():
    """In every step of every stretch, however far the weights have come."""
    seen = []

    def log_density(x):
        seen.append(x.copy())
        return quadratic(x)

    small("planar").fit_energy(log_density, n_steps=201, batch_size=3, learning_rate=0, rng=1)
    assert len(seen) == 201
    assert len(np.unique(np.concatenate(seen), axis=0)) == 603


@pytest.mark.parametrize("name", ["real_nvp", "maf"])
def test_threads_are_not_seen_in_the_weights(name):
    """Rows of a batch that are long enough to be shared out, with and without help."""
    x = correlated(700, 20)

    def trained(n_threads):
        flow = small(name, dim=20)
        with threadpool_limits(n_threads, user_api="blas"):
            flow.fit(x, n_epochs=2, batch_size=600, validation_data=x[:100], rng=1)
            flow.fit_energy(quadratic, n_steps=2, batch_size=600, rng=1)
        return flow.ravel()

    for n_threads in (2, 3):
        np.testing.assert_array_equal(trained(n_threads), trained(1))


@pytest.mark.parametrize("name", ["planar", "maf", "nsf"])
def test_single_precision(name):
    flow = small(name, dtype="float32")
    x = bent()
    before = x.copy()
    result = flow.fit(x, n_epochs=8, batch_size=50, learning_rate=0.01, rng=1)
    np.testing.assert_array_equal(x, before)
    wide = small(name)
    expected = wide.fit(x, n_epochs=8, batch_size=50, learning_rate=0.01, rng=1)
    np.testing.assert_allclose(result.history["nll"], expected.history["nll"], atol=0.02)
    for array in [*flow.parameters.values(), *flow.state.values(), flow.log_prob(x)]:
        assert array.dtype == np.float32
    flow.fit_energy(quadratic, n_steps=10, batch_size=5, rng=1)
    flow.fit(x, n_epochs=3, optimizer="lbfgs")
    assert flow.ravel().dtype == np.float32
    assert math.isfinite(flow.nll(x))


def test_data_of_any_kind():
    """Read-only, integers, lists, other byte orders: as the same numbers in float64, unchanged."""
    x = np.round(10 * bent(60))
    read_only = x.copy()
    read_only.setflags(write=False)
    expected = small().fit(x, n_epochs=2, rng=1)
    for data in (x.astype(int), x.tolist(), np.asfortranarray(x), x.astype(">f8"), read_only):
        same(small().fit(data, n_epochs=2, rng=1), expected)


def test_annealing_sees_every_step():
    steps = []

    def anneal(step):
        steps.append(step)
        return 0.0 if step < 100 else 1.0

    flow = small("planar")
    result = flow.fit_energy(
        quadratic, n_steps=130, batch_size=20, learning_rate=0, anneal=anneal, rng=1
    )
    assert sorted(set(steps)) == list(range(130))
    # The record is of the target itself: all entries estimate one number, annealed or not.
    plain = small("planar").fit_energy(
        quadratic, n_steps=130, batch_size=20, learning_rate=0, rng=1
    )
    np.testing.assert_array_equal(result.history["objective"], plain.history["objective"])


def test_energies_with_a_context():
    """One context serves all draws, and the flow moves for it."""
    flow = small("planar", context_dim=3)
    result = flow.fit_energy(
        lambda x: (-((x - 2) ** 2).sum(axis=1), -2 * (x - 2)), context=[1.0, 0.0, -1.0],
        n_steps=400, batch_size=30, learning_rate=0.02, rng=1,
    )  # fmt: skip
    assert result.history["objective"][-1] < result.history["objective"][0] - 1


def test_energies_may_return_what_they_like_of_numbers():
    """float32, read-only, integers: converted."""

    def log_density(x):
        values, gradients = quadratic(x)
        gradients = gradients.astype(np.float32)
        gradients.setflags(write=False)
        return np.round(values).astype(int), gradients

    small("planar").fit_energy(log_density, n_steps=5, batch_size=5)


def test_energies_that_write_to_their_points():
    """What a target does to the array that it is given does not reach the gradient."""

    def careless(x):
        answer = quadratic(x)
        x[...] = 1e6
        return answer

    for name in ("planar", "maf", "iaf"):
        clean = small(name).fit_energy(quadratic, n_steps=20, batch_size=5, rng=1)
        same(small(name).fit_energy(careless, n_steps=20, batch_size=5, rng=1), clean)


class Plain:
    """The standard normal as a base of a user's own, without score."""

    dim = 2

    def log_prob(self, z):
        return -0.5 * (z**2).sum(axis=1) - math.log(2 * math.pi)

    def sample(self, n, rng=None):
        return np.random.default_rng(rng).standard_normal((n, 2))


def test_bases_without_a_score_train():
    """By differences of log_prob: the way of the base that has one, to nine digits."""
    bijection = small("maf").bijection
    ours, theirs = flows.Flow(bijection), flows.Flow(copy.deepcopy(bijection), Plain())
    for flow in (ours, theirs):
        flow.fit(bent(), n_epochs=3, learning_rate=0.01, rng=1)
        flow.fit_energy(quadratic, n_steps=50, batch_size=20, rng=1)
    np.testing.assert_allclose(theirs.ravel(), ours.ravel(), atol=1e-6)


def test_bars_are_shown(capsys):
    pytest.importorskip("tqdm")
    small().fit(bent(), n_epochs=2, progress=True)
    assert "epoch" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ longer proofs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("density", "name", "most"),
    [("eight_gaussians", "nsf", 0.05), ("moons", "nsf", 0.05), ("circles", "nsf", 0.08)],
)
def test_toys_are_learnt(density, name, most):
    """The gap to the entropy, on fresh points, after a minute of training."""
    toy = getattr(flows.toys, density)
    x = toy.sample(20_000, rng=0)
    flow = getattr(flows, name)(dim=2, depth=6, width=48, rng=1)
    flow.fit(x, n_epochs=40, rng=2)
    fresh = toy.sample(50_000, rng=3)
    assert np.mean(toy.log_prob(fresh) - flow.log_prob(fresh)) < most
