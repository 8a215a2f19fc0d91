"""train_cd: every update against the oracle's trainer, then starts, history, stops, failures."""

import tracemalloc

import adapters
import numpy as np
import pytest
from reference import models, philox, training

import fastrbm
from fastrbm import RBM, Bernoulli, DivergenceError, Gaussian, Spin, train_cd
from fastrbm._lib import core
from fastrbm.training.metrics import METRICS

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)


def key_of(seed):
    return int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))


def binary(n_rows=60, n=12, seed=0, spin=False):
    """Correlated bits: copies of a few patterns with some units flipped."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(2, size=(4, n))
    bits = patterns[rng.integers(4, size=n_rows)] ^ (rng.random((n_rows, n)) < 0.1)
    return 2 * bits.astype(np.int8) - 1 if spin else bits.astype(np.int8)


# ----------------------------------------------------------------- update for update, all options


def compare(
    visible, hidden, *, n_visible=9, n_hidden=6, n_rows=23, dtype="float64", tolerance=1e-9,
    n_epochs=3, batch_size=5, rate=None, seed=4, probabilities=False, k=1, **options,
):  # fmt: skip
    """train_cd and the oracle from one model on one data set with one seed."""
    model = adapters.random_model(visible, hidden, n_visible, n_hidden)
    rbm = adapters.to_rbm(model, dtype)
    data = adapters.random_states(visible, n_rows, n_visible, seed=7).astype(dtype)
    if probabilities:
        data = np.random.default_rng(8).random((n_rows, n_visible)).astype(dtype)
    if rate is None:  # two Gaussian layers must stay normalisable
        rate = 0.02 if visible == hidden == "gaussian" else 0.2
    schedule = rate if callable(rate) else lambda epoch: rate
    ours = train_cd(
        data, model=rbm, k=k, n_epochs=n_epochs, batch_size=batch_size, learning_rate=rate,
        rng=seed, metrics=(), visible=visible,
        **{"momentum": 0.0, "weight_decay": 0.0, **options},
    )  # fmt: skip
    options.pop("persistent", None)
    theirs = training.train(
        adapters.to_oracle(rbm), data, key_of(seed), n_epochs=n_epochs, batch_size=batch_size,
        rate=schedule, k=k, probabilities=probabilities,
        samples=options.pop("statistics", "means") == "samples", **options,
    )  # fmt: skip
    found = adapters.to_oracle(ours.model)
    for name, expected in training.parameters(theirs.model).items():
        np.testing.assert_allclose(
            training.parameters(found)[name], expected, rtol=0, atol=tolerance, err_msg=name
        )
    np.testing.assert_allclose(ours.chains, theirs.chains, rtol=0, atol=10 * tolerance)
    np.testing.assert_allclose(
        ours.history["update_norm"], theirs.update_norm, rtol=1e3 * tolerance
    )
    return ours, theirs


def chains_for(visible, n_chains=7, n_visible=9):
    return adapters.random_states(visible, n_chains, n_visible, seed=5)


@pairs
@pytest.mark.parametrize("k", [1, 3])
def test_cd_updates(visible, hidden, k):
    """Batches of 5, 5, 5, 5 and a short one of 3, three epochs, bit streams and all."""
    compare(visible, hidden, k=k)


@pairs
def test_pcd_updates(visible, hidden):
    compare(visible, hidden, k=2, persistent=True, chains=chains_for(visible))


@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "bernoulli"), ("spin", "gaussian")])
def test_updates_in_single_precision(visible, hidden):
    compare(visible, hidden, dtype="float32", tolerance=2e-6)


@pairs
def test_samples(visible, hidden):
    compare(visible, hidden, statistics="samples")


@pytest.mark.parametrize("hidden", models.UNITS)
def test_probabilities_as_data(hidden):
    compare("bernoulli", hidden, probabilities=True, k=2)


OPTIONS = {
    "momentum": {"momentum": 0.9},
    "weight decay": {"weight_decay": 0.05},
    "both": {"momentum": 0.5, "weight_decay": 0.02},
    "max_norm": {"max_norm": 0.3},
    "max_norm that never binds": {"max_norm": 1e6},
    "everything": {"momentum": 0.7, "weight_decay": 0.02, "max_norm": 0.4},
    "frozen weights": {"freeze": ("weights",), "momentum": 0.5, "weight_decay": 0.1},
    "frozen visible": {"freeze": ("visible_bias",), "max_norm": 0.3},
    "frozen hidden": {"freeze": ("hidden_bias",), "max_norm": 0.3, "momentum": 0.5},
    "two frozen": {"freeze": ("visible_bias", "hidden_bias")},
    "schedule": {"rate": lambda epoch: 0.3 / epoch, "momentum": 0.6},
    "one batch": {"batch_size": 1000},
    "batches of one": {"batch_size": 1, "n_epochs": 1},
    "batch = rows": {"batch_size": 23},
}


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [("bernoulli", "bernoulli"), ("spin", "gaussian"), ("gaussian", "bernoulli")],
)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(visible, hidden, options):
    compare(visible, hidden, **options)
    compare(visible, hidden, persistent=True, chains=chains_for(visible), **options)


@pytest.mark.parametrize(
    ("n_visible", "n_hidden", "n_rows", "batch_size"),
    [(1, 1, 3, 2), (64, 64, 70, 64), (65, 33, 150, 67), (130, 70, 40, 11)],
)
def test_sizes(n_visible, n_hidden, n_rows, batch_size):
    """Around the widths of words and tiles."""
    for pair in (("bernoulli", "bernoulli"), ("spin", "gaussian"), ("gaussian", "spin")):
        sizes = {"n_visible": n_visible, "n_hidden": n_hidden, "n_rows": n_rows}
        compare(*pair, batch_size=batch_size, rate=0.02, **sizes)


@pytest.mark.parametrize("purpose", ["TRAIN_HIDDEN", "TRAIN_VISIBLE", "SHUFFLE"])
def test_the_comparison_can_fail(purpose, monkeypatch):
    """Other words in the oracle, in one place, are noticed."""
    monkeypatch.setitem(philox.PURPOSES, purpose, 99)
    with pytest.raises(AssertionError):
        compare("spin", "spin")


# ---------------------------------------------------------------------------------- frozen, moving


@pytest.mark.parametrize("name", training.NAMES)
def test_freeze(name):
    """What is frozen keeps its bits, everything else moves; precisions always keep theirs."""
    rbm = adapters.to_rbm(adapters.random_model("gaussian", "bernoulli", 5, 4), "float32")
    data = np.random.default_rng(0).normal(size=(50, 5))
    before = training.parameters(adapters.to_oracle(rbm))
    result = train_cd(data, model=rbm, freeze=name, n_epochs=2, rng=1)  # one name, not in a tuple
    after = training.parameters(adapters.to_oracle(result.model))
    for other in training.NAMES:
        assert np.array_equal(before[other], after[other]) == (other == name)
    np.testing.assert_array_equal(rbm.visible.precision, result.model.visible.precision)


def test_precisions_may_be_named_in_freeze():
    train_cd(binary(), hidden="gaussian", n_hidden=2, n_epochs=1, freeze=["hidden_precision"])


def test_a_named_gaussian_hidden_layer_keeps_bias_zero():
    data = binary(spin=True)
    named = train_cd(data, n_hidden=3, n_epochs=3, rng=1)
    assert isinstance(named.model.hidden, Gaussian)
    assert (named.model.hidden.bias == 0).all()
    given_layer = train_cd(data, hidden=Gaussian(3), n_epochs=3, rng=1)
    assert (given_layer.model.hidden.bias != 0).all()
    again = train_cd(data, model=named.model, n_epochs=3, rng=1)
    assert (again.model.hidden.bias != 0).all()


def test_rate_zero_changes_nothing():
    rbm = RBM(Spin(12), Gaussian(3), rng=1)
    result = train_cd(binary(spin=True), model=rbm, learning_rate=0, n_epochs=2, rng=1)
    assert result.model == rbm
    assert (result.history["update_norm"] == 0).all()


# ------------------------------------------------------------------------------------- the start


def start_of(data, **options):
    return train_cd(data, n_epochs=0, rng=3, **options).model


def test_units_are_read_from_the_data():
    bits, spins = binary(), binary(spin=True)
    for data in (bits, bits.astype(bool), bits.astype(np.uint8), bits.astype(float)):
        model = start_of(data)
        assert (type(model.visible), type(model.hidden)) == (Bernoulli, Bernoulli)
        assert model.hidden.n == 64
        assert model.dtype == np.float32
    for data in (spins, spins.astype(np.int64), spins.astype(np.float32)):
        model = start_of(data)
        assert (type(model.visible), type(model.hidden)) == (Spin, Gaussian)
    assert isinstance(start_of(np.zeros((3, 2))).visible, Bernoulli)
    assert isinstance(start_of(np.ones((3, 2), bool)).visible, Bernoulli)
    assert isinstance(start_of(-np.ones((3, 2))).visible, Spin)
    ones = np.ones((3, 2), np.int8)
    assert isinstance(start_of(ones, visible="spin").visible, Spin)
    assert isinstance(start_of(ones, visible="bernoulli").visible, Bernoulli)
    reals = start_of(np.array([[0.5, -2.0]]), visible="gaussian")
    assert (type(reals.visible), type(reals.hidden)) == (Gaussian, Bernoulli)


def test_data_driven_start():
    """Log-odds with half a count on either side; means; zero hidden bias; weights N(0, 0.01^2)."""
    bits = binary(n_rows=41)
    c, n = bits.sum(0, dtype=float), len(bits)
    log_odds = np.log((c + 0.5) / (n - c + 0.5))
    np.testing.assert_allclose(start_of(bits).visible.bias, log_odds, rtol=1e-6)
    spins = start_of(2 * bits - 1)
    np.testing.assert_allclose(spins.visible.bias, log_odds / 2, rtol=1e-6)
    reals = np.random.default_rng(0).normal(3, 2, (50, 12)).astype(np.float32)
    gaussian = start_of(reals, visible="gaussian", dtype="float64")
    np.testing.assert_allclose(gaussian.visible.bias, reals.mean(0, dtype=float), rtol=1e-12)
    assert (gaussian.visible.precision == 1).all()
    assert gaussian.dtype == np.float64
    constant = np.zeros((10, 3), np.int8)
    constant[:, 0] = 1
    bias = start_of(constant).visible.bias
    np.testing.assert_allclose(bias, np.array([1, -1, -1]) * np.log(10.5 / 0.5), rtol=1e-6)
    p = np.random.default_rng(1).random((20, 4))
    soft = start_of(p, visible="bernoulli").visible.bias
    np.testing.assert_allclose(
        soft, np.log((p.sum(0) + 0.5) / (20 - p.sum(0) + 0.5)), rtol=1e-5, atol=1e-6
    )
    for model in (start_of(bits), spins, gaussian):
        assert (model.hidden.bias == 0).all()
        assert model.weights.std() == pytest.approx(0.01, rel=0.15)
    assert (start_of(bits).weights == RBM(Bernoulli(12), Bernoulli(64), rng=3).weights).all()


def test_layers_and_models_start_as_given():
    bias = np.linspace(-1, 1, 12)
    layers = start_of(binary(), visible=Bernoulli(12, bias=bias), hidden=Spin(3, bias=0.5))
    np.testing.assert_allclose(layers.visible.bias, bias, rtol=1e-6)
    assert (layers.hidden.bias == 0.5).all()
    rbm = RBM(Bernoulli(12), Bernoulli(5), dtype="float64", rng=1)
    assert start_of(binary(), model=rbm) == rbm
    assert start_of(binary(), model=rbm, dtype="float32") == rbm.astype("float32")


def test_the_callers_model_and_data_stay():
    rbm, data = RBM(Bernoulli(12), Bernoulli(5), rng=1), binary()
    before, rows = rbm.copy(), data.copy()
    result = train_cd(data, model=rbm, n_epochs=2, rng=1)
    assert rbm == before
    assert result.model != rbm
    np.testing.assert_array_equal(data, rows)


def test_the_default_rate():
    """A number for bounded pairs; the stable rate where hidden units are unbounded."""
    for n_rows, batch_size, expected in ((1080, 10, 0.05), (540, 10, 0.1), (55, 10, 0.3)):
        data = np.arange(4 * n_rows).reshape(n_rows, 4) % 2
        result = train_cd(data, n_hidden=3, n_epochs=1, batch_size=batch_size)
        assert result.info["learning_rate"] == pytest.approx(expected)
    spins = binary(n_rows=200, spin=True)
    largest = np.linalg.eigvalsh(spins.T.astype(float) @ spins / len(spins)).max()
    hidden = Gaussian(3, precision=[2.0, 3.0, 4.0])
    rate = train_cd(spins, hidden=hidden, n_epochs=1).info["learning_rate"]
    assert rate == pytest.approx(0.5 * 2.0 / largest, rel=0.01)
    reals = np.random.default_rng(0).normal(size=(50, 6))
    visible = Gaussian(6, precision=0.5)
    for n_hidden, expected in ((10, 0.05), (500, 2 * 0.5 / 500)):
        info = train_cd(reals, visible=visible, n_hidden=n_hidden, n_epochs=1).info
        assert info["learning_rate"] == pytest.approx(expected)


# ------------------------------------------------------------------------- every kind of data


def every_kind(data):
    read_only = data.copy()
    read_only.flags.writeable = False
    wide = np.repeat(data, 3, axis=1)
    kinds = [data.astype(t) for t in ("int8", "int16", "int32", "int64", "float32", "float64")]
    kinds += [
        read_only,
        np.asfortranarray(data),
        wide[:, ::3],
        data.tolist(),
        data.astype("float16"),
    ]
    if data.min() == 0:
        kinds += [data.astype(t) for t in ("bool", "uint8", "uint16", "uint32", "uint64")]
    return kinds


@pytest.mark.parametrize("spin", [False, True])
def test_any_data_gives_the_same(spin, tmp_path):
    data = binary(spin=spin, n=70)
    np.save(tmp_path / "data.npy", data)
    kinds = [*every_kind(data), np.load(tmp_path / "data.npy", mmap_mode="r")]
    options = {"n_hidden": 5, "n_epochs": 2, "batch_size": 9, "rng": 1}
    expected = train_cd(data, **options)
    for kind in kinds:
        found = train_cd(kind, **options)
        assert found.model == expected.model
        for name in ("reconstruction_error", "pseudo_likelihood"):
            np.testing.assert_array_equal(found.history[name], expected.history[name])


def test_any_reals_give_the_same(tmp_path):
    data = np.random.default_rng(0).integers(-3, 4, (40, 7)).astype(float)
    np.save(tmp_path / "data.npy", data)
    kinds = (np.asfortranarray(data), np.repeat(data, 2, 1)[:, ::2], data.astype("int8"),
             data.astype("float32"), np.load(tmp_path / "data.npy", mmap_mode="r"))  # fmt: skip
    options = {"visible": "gaussian", "n_hidden": 5, "n_epochs": 2, "batch_size": 9, "rng": 1}
    expected = train_cd(data, **options).model
    for kind in kinds:
        assert train_cd(kind, **options).model == expected


# -------------------------------------------------------------------------------- history, metrics

COLUMNS = ["epoch", "seconds", "metric_seconds", "learning_rate", "update_norm"]


def test_history():
    result = train_cd(binary(), n_hidden=3, n_epochs=4, learning_rate=lambda e: 0.1 / e, rng=1)
    history = result.history
    assert list(history) == [*COLUMNS, "reconstruction_error", "pseudo_likelihood"]
    assert all(a.dtype == np.float64 and a.shape == (4,) for a in history.values())
    np.testing.assert_array_equal(history["epoch"], [1, 2, 3, 4])
    np.testing.assert_allclose(history["learning_rate"], 0.1 / np.arange(1, 5))
    assert (history["seconds"] >= 0).all()
    assert (history["metric_seconds"] >= 0).all()
    assert result.info["learning_rate"] == 0.025
    assert result.info["key"] == key_of(1)
    for name in ("simd", "n_threads", "seconds", "versions", "kernel"):
        assert name in result.info
    assert repr(result).startswith("TrainingResult(RBM(Bernoulli(12")


def test_default_metrics_follow_the_visible_layer():
    reals = np.random.default_rng(0).normal(size=(20, 4))
    history = train_cd(reals, visible="gaussian", n_hidden=3, n_epochs=1).history
    assert list(history) == [*COLUMNS, "reconstruction_error"]
    assert list(train_cd(binary(), n_epochs=1, metrics=()).history) == COLUMNS


def test_metrics_are_the_models():
    """Measured after the epoch, on rows of the data: here on all of them."""
    data, held_out = binary(n_rows=60), binary(n_rows=60, seed=5)
    names = ("exact_pseudo_likelihood", "free_energy_gap")
    result = train_cd(data, n_hidden=4, n_epochs=2, metrics=names, validation_data=held_out, rng=1)
    exact = fastrbm.pseudo_likelihood(result.model, data)
    assert result.history["exact_pseudo_likelihood"][-1] == pytest.approx(exact, rel=1e-10)
    gap = result.model.free_energy(held_out).mean() - result.model.free_energy(data).mean()
    assert result.history["free_energy_gap"][-1] == pytest.approx(gap, rel=1e-8, abs=1e-10)


def test_free_energy_gap_uses_as_many_training_rows():
    """With one held-out row the gap is against one training row."""
    data = binary()
    result = train_cd(
        data, n_hidden=4, n_epochs=1, metrics="free_energy_gap", validation_data=data[:1], rng=1
    )
    free = result.model.free_energy(data)
    assert np.isclose(free[0] - result.history["free_energy_gap"][0], free, atol=1e-9).any()


def test_metrics_rows_are_fixed():
    """A subset of the rows, the same in every epoch, another with another seed."""
    data = binary(n_rows=500)
    options = {"metrics": "exact_pseudo_likelihood", "n_hidden": 4, "learning_rate": 0}
    first = train_cd(data, metrics_rows=20, n_epochs=3, rng=1, **options).history
    np.testing.assert_array_equal(
        first["exact_pseudo_likelihood"], first["exact_pseudo_likelihood"][0]
    )
    other = train_cd(data, metrics_rows=20, n_epochs=1, rng=2, **options).history
    assert other["exact_pseudo_likelihood"][0] != first["exact_pseudo_likelihood"][0]


def test_random_metrics_vary_between_epochs():
    """New hidden draws and new units each epoch: with rate 0 only they change."""
    history = train_cd(binary(), n_hidden=4, learning_rate=0, n_epochs=3, rng=1).history
    for name in ("reconstruction_error", "pseudo_likelihood"):
        assert len(np.unique(history[name])) == 3


def test_metrics_do_not_change_training():
    data = binary()
    plain = train_cd(data, n_hidden=4, n_epochs=2, metrics=(), rng=1).model
    assert train_cd(data, n_hidden=4, n_epochs=2, rng=1).model == plain


def test_learning_learns():
    """Bars and stripes: the exact likelihood rises far above the start's."""
    data = fastrbm.datasets.bars_and_stripes(3)
    data = np.asarray(getattr(data, "data", data))

    def log_likelihood(rbm):
        from reference import exact

        both = exact.Exact(adapters.to_oracle(rbm))
        return -rbm.free_energy(data).mean() - both.log_z

    options = {"n_hidden": 10, "rng": 1, "metrics": ()}
    start = log_likelihood(train_cd(data, n_epochs=0, **options).model)
    settings = {"n_epochs": 2000, "batch_size": 14, "learning_rate": 0.1, **options}
    for method in ({"k": 1}, {"persistent": True, "n_chains": 100, "k": 5}):
        end = log_likelihood(train_cd(data, **method, **settings).model)
        assert end > start + 1.5


# ------------------------------------------------------------------------------- callback and stop


def test_callback_sees_each_epoch():
    seen = []

    def callback(state):
        seen.append((state.epoch, state.model.weights.copy(), len(state.history["epoch"])))

    result = train_cd(binary(), n_hidden=3, n_epochs=3, callback=callback, rng=1)
    assert [epoch for epoch, _, _ in seen] == [n for _, _, n in seen] == [1, 2, 3]
    np.testing.assert_array_equal(seen[-1][1], result.model.weights)
    assert (seen[0][1] != seen[1][1]).any()


def test_callback_stops():
    result = train_cd(binary(), n_hidden=3, callback=lambda s: s.epoch == 2, rng=1)
    assert result.history["epoch"].tolist() == [1, 2]
    assert result.model == train_cd(binary(), n_hidden=3, n_epochs=2, rng=1).model


def test_callback_may_edit_the_model():
    """Training goes on from what the callback left."""

    def callback(state):
        state.model.weights[:] = 0
        state.model.visible.bias[:] = 1

    options = {"n_hidden": 3, "learning_rate": 0, "rng": 1, "metrics": ()}
    result = train_cd(binary(), n_epochs=2, callback=callback, **options)
    assert (result.model.weights == 0).all()
    assert (result.model.visible.bias == 1).all()


def test_an_error_in_the_callback_comes_out():
    class MineError(Exception):
        pass

    def callback(state):
        raise MineError

    with pytest.raises(MineError):
        train_cd(binary(), n_hidden=3, callback=callback)


def test_progress_without_tqdm_says_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="fastrbm\\[progress\\]"):
        train_cd(binary(), n_hidden=3, n_epochs=1, progress=True)


# ------------------------------------------------------------------------------- chains and PCD


def test_chains_of_cd_are_those_of_the_last_batch():
    result = train_cd(binary(n_rows=23), n_hidden=3, batch_size=5, n_epochs=1, rng=1)
    assert result.chains.shape == (3, 12)
    assert set(np.unique(result.chains)) <= {0, 1}
    assert result.chains.dtype == result.model.dtype


def test_persistent_chains():
    data = binary()
    default = train_cd(data, n_hidden=3, persistent=True, batch_size=7, n_epochs=1, rng=1)
    assert default.chains.shape == (7, 12)
    more = train_cd(data, n_hidden=3, persistent=True, n_chains=20, n_epochs=1, rng=1)
    assert more.chains.shape == (20, 12)
    again = train_cd(data, model=more.model, persistent=True, chains=more.chains, n_epochs=1, rng=1)
    assert again.chains.shape == (20, 12)


def test_persistent_chains_start_at_data_rows():
    """With zero rate and huge, data-like couplings frozen in, chains stay where they start."""
    data = np.eye(6, dtype=np.int8)
    rbm = RBM(Bernoulli(6, bias=-30.0), Bernoulli(6, bias=-30.0), weights=60 * np.eye(6))
    result = train_cd(
        data, model=rbm, persistent=True, n_chains=600, n_epochs=1, learning_rate=0, rng=1
    )
    rows = result.chains.argmax(1)
    assert (result.chains.sum(1) == 1).all()
    counts = np.bincount(rows, minlength=6)
    assert ((counts - 100) ** 2 / 100).sum() < 40  # uniform: chi-square with 5 degrees


# ----------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("kind", ["bits", "spins", "reals", "probabilities"])
@pytest.mark.parametrize("persistent", [False, True])
def test_memory(kind, persistent):
    """Beyond the caller's array: one packed copy, 6 x parameters, the chains, and 8 MB."""
    rng = np.random.default_rng(0)
    n_rows, n_visible, n_hidden, n_chains = 20_000, 784, 500, 100
    data = (rng.random((n_rows, n_visible)) < 0.2).astype(np.int8)
    visible = {"bits": "bernoulli", "spins": "spin", "reals": "gaussian"}.get(kind, "bernoulli")
    if kind == "spins":
        data = 2 * data - 1
    elif kind in ("reals", "probabilities"):
        data = rng.random((n_rows, n_visible), dtype=np.float32)
    packed = n_rows * n_visible / 8 if kind in ("bits", "spins") else 0
    parameters = 4 * (n_visible * n_hidden + n_visible + n_hidden)
    chains = 4 * n_chains * (n_visible + n_hidden)
    limit = packed + 6 * parameters + chains + 8e6
    warm_up = {"visible": visible, "n_hidden": 2, "n_epochs": 1, "rng": 1, "n_threads": 2}
    train_cd(data[:10], **warm_up)
    tracemalloc.start()
    try:
        train_cd(data, persistent=persistent, **warm_up | {"n_hidden": n_hidden})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit


# ------------------------------------------------------------------------------------ divergence


@pytest.mark.parametrize("persistent", [False, True])
def test_divergence_keeps_the_last_good_state(persistent):
    data = binary(n_rows=100, spin=True)
    with pytest.raises(DivergenceError, match="learning_rate") as caught:
        train_cd(
            data, n_hidden=3, learning_rate=50.0, batch_size=10, n_epochs=200, rng=1,
            persistent=persistent,
        )  # fmt: skip
    assert isinstance(caught.value, ArithmeticError)
    model = caught.value.result.model
    for array in (model.weights, model.visible.bias, model.hidden.bias):
        assert np.isfinite(array).all()
    model.sample_hidden(data[:3], rng=1)
    history = caught.value.result.history
    assert len(history["epoch"]) < 200
    assert np.isfinite(history["reconstruction_error"]).all()


def test_metrics_that_cannot_be_drawn_are_divergence(monkeypatch):
    def fails(probe):
        raise core.StatusError(-22, "a parameter is not finite")

    monkeypatch.setitem(METRICS, "reconstruction_error", fails)
    with pytest.raises(DivergenceError, match="not finite") as caught:
        train_cd(binary(n_rows=20), n_hidden=3, n_epochs=2, rng=1)
    assert caught.value.result.info["stopped"] == "diverged"


@pytest.mark.parametrize("rate", [0.11, 0.12, 0.2, 1.0])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_state_after_divergence_is_the_last_good_one(rate, persistent):
    """Bit for bit that of a run that ends with the last good epoch, its chains included."""
    data = fastrbm.datasets.digits(values="spin").data
    options = {"n_hidden": 16, "persistent": persistent, "learning_rate": rate, "rng": 0}
    with pytest.raises(DivergenceError) as caught:
        train_cd(data, n_epochs=40, **options)
    result = caught.value.result
    n_epochs = len(result.history["epoch"])
    assert result.info["n_updates"] == 18 * n_epochs
    good = train_cd(data, n_epochs=n_epochs, **options)
    assert result.model == good.model
    np.testing.assert_array_equal(result.chains, good.chains)
    if n_epochs == 0:  # the start: training goes on from it at the default rate
        again = train_cd(data, model=result.model, n_epochs=2, rng=1)
        assert np.isfinite(again.history["reconstruction_error"]).all()


def test_divergence_in_the_last_epoch_is_noticed():
    with pytest.raises(DivergenceError):
        train_cd(
            binary(spin=True), n_hidden=3, learning_rate=1e30, n_epochs=1, batch_size=10, rng=1
        )


def test_two_gaussian_layers_that_leave_the_normalisable():
    data = np.random.default_rng(0).normal(0, 3, (200, 4))
    rbm = RBM(Gaussian(4), Gaussian(3), rng=1)
    with pytest.raises(DivergenceError) as caught:
        train_cd(data, model=rbm, learning_rate=0.1, n_epochs=100, batch_size=20, rng=1)
    fastrbm.sample(caught.value.result.model, n_chains=2, n_draws=1)  # refuses what is not


@pytest.mark.parametrize("n_hidden", [64, 500])
@pytest.mark.parametrize("batch_size", [10, 100])
@pytest.mark.parametrize("kind", ["bits", "spins", "reals"])
def test_defaults_do_not_diverge_on_digits(kind, batch_size, n_hidden):
    """Three epochs of the default call; the error falls. Reals: the bits, standardised."""
    if kind == "reals":
        bits = fastrbm.datasets.digits(values="binary").data.astype(float)
        data = (bits - bits.mean(0)) / bits.std(0).clip(0.1)
        options = {"visible": "gaussian"}
    else:
        data = fastrbm.datasets.digits(values="spin" if kind == "spins" else "binary").data
        options = {}
    result = train_cd(data, n_hidden=n_hidden, batch_size=batch_size, n_epochs=3, rng=1, **options)
    error = result.history["reconstruction_error"]
    assert np.isfinite(error).all()
    assert error[-1] < error[0]


@pytest.mark.slow
@pytest.mark.parametrize("n_hidden", [64, 500])
@pytest.mark.parametrize("batch_size", [10, 100])
@pytest.mark.parametrize("kind", ["bits", "spins", "grey levels"])
def test_defaults_do_not_diverge_on_mnist(kind, batch_size, n_hidden, mnist):
    grey = mnist["train_images"]
    bits = (grey >= 128).astype(np.int8)
    options = {"visible": "gaussian"} if kind == "grey levels" else {}
    if kind == "grey levels":
        used = grey.std(0) > 0
        data = np.zeros(grey.shape, np.float32)
        data[:, used] = ((grey - grey.mean(0)) / grey.std(0).clip(1e-9))[:, used]
    else:
        data = bits if kind == "bits" else 2 * bits - 1
    result = train_cd(data, n_hidden=n_hidden, batch_size=batch_size, n_epochs=3, rng=1, **options)
    error = result.history["reconstruction_error"]
    assert np.isfinite(error).all()
    assert error[-1] < error[0]
