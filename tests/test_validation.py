"""Bad input: one clear error each, naming the argument, before any work, nothing half-written."""

import os

import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, Bernoulli, Gaussian, Spin, pseudo_likelihood, sample, train_cd, validation

BITS = np.array([[0, 1, 1], [1, 0, 1]], np.int8)
SPINS = 2 * BITS - 1
NAN = float("nan")
INF = float("inf")


def rbm(visible=Bernoulli, hidden=Bernoulli):
    return RBM(visible(3), hidden(2), rng=1)


def with_nan(array, row=1, column=2, value=NAN):
    array = np.array(array, float)
    array[row, column] = value
    return array


# what is called, the error, and what its message must say
LAYERS = {
    "no units": (lambda: Spin(0), ValueError, "n must be"),
    "negative units": (lambda: Spin(-3), ValueError, "n must be"),
    "fractional units": (lambda: Spin(2.0), TypeError, "n must be"),
    "boolean units": (lambda: Spin(True), TypeError, "n must be"),
    "bias of the wrong length": (lambda: Spin(3, bias=[1.0, 2.0]), ValueError, "bias"),
    "bias of the wrong rank": (lambda: Spin(3, bias=np.zeros((1, 3))), ValueError, "bias"),
    "bias NaN": (lambda: Spin(2, bias=[0.0, NAN]), ValueError, "bias"),
    "bias infinite": (lambda: Bernoulli(2, bias=INF), ValueError, "bias"),
    "bias complex": (lambda: Spin(2, bias=[1j, 0]), TypeError, "bias"),
    "bias text": (lambda: Spin(2, bias=["a", "b"]), TypeError, "bias"),
    "bias masked": (lambda: Spin(2, bias=np.ma.array([1.0, 2.0])), TypeError, "bias"),
    "bias ragged": (lambda: Spin(2, bias=[[1.0], [2.0, 3.0]]), TypeError, "bias"),
    "precision zero": (lambda: Gaussian(2, precision=[1.0, 0.0]), ValueError, "precision"),
    "precision negative": (lambda: Gaussian(2, precision=-1), ValueError, "precision"),
    "precision NaN": (lambda: Gaussian(2, precision=NAN), ValueError, "precision"),
    "positional bias": (lambda: Spin(2, [0.0, 0.0]), TypeError, None),
    "input of the wrong length": (lambda: Spin(3).mean([1.0, 2.0]), ValueError, "x must"),
    "input NaN": (lambda: Spin(2).cgf([0.0, NAN]), ValueError, "x must"),
    "input infinite": (lambda: Gaussian(2).sample([0.0, -INF]), ValueError, "x must"),
    "input beyond float32": (
        lambda: Spin(1, bias=np.zeros(1, np.float32)).mean([1e300]),
        ValueError,
        "x must",
    ),
    "not a state": (lambda: Spin(2).log_weight([0.0, 1.0]), ValueError, "states"),
    "state NaN": (lambda: Gaussian(2).log_weight([NAN, 1.0]), ValueError, "states"),
    "beta negative": (lambda: Spin(2).mean(0.0, beta=-1), ValueError, "beta"),
    "beta NaN": (lambda: Spin(2).mean(0.0, beta=NAN), ValueError, "beta"),
    "beta infinite": (lambda: Spin(2).mean(0.0, beta=INF), ValueError, "beta"),
    "beta text": (lambda: Spin(2).mean(0.0, beta="1"), TypeError, "beta"),
    "beta zero of reals": (lambda: Gaussian(2).mean(0.0, beta=0), ValueError, "beta"),
    "assigned bias": (lambda: setattr(Spin(2), "bias", [NAN, 0.0]), ValueError, "bias"),
    "assigned precision": (
        lambda: setattr(Gaussian(2), "precision", [0.0, 1.0]),
        ValueError,
        "precision",
    ),
}

MODELS = {
    "no layer": (lambda: RBM(3, Spin(2)), TypeError, "visible"),
    "a layer's class": (lambda: RBM(Spin(3), Spin), TypeError, "hidden"),
    "weights of the wrong shape": (
        lambda: RBM(Spin(3), Spin(2), weights=np.zeros((2, 3))),
        ValueError,
        "weights",
    ),
    "weights NaN": (
        lambda: RBM(Spin(1), Spin(1), weights=[[NAN]]),
        ValueError,
        "weights",
    ),
    "weights beyond float32": (
        lambda: RBM(Spin(1), Spin(1), weights=[[1e300]], dtype="float32"),
        ValueError,
        "weights",
    ),
    "dtype integer": (lambda: RBM(Spin(1), Spin(1), dtype="int8"), ValueError, "dtype"),
    "dtype half": (lambda: RBM(Spin(1), Spin(1), dtype=np.float16), ValueError, "dtype"),
    "dtype nonsense": (lambda: RBM(Spin(1), Spin(1), dtype="double trouble"), ValueError, "dtype"),
    "assigned shape": (
        lambda: setattr(rbm(), "weights", np.zeros((2, 2))),
        ValueError,
        "weights",
    ),
    "assigned infinity": (
        lambda: setattr(rbm(), "weights", np.full((3, 2), INF)),
        ValueError,
        "weights",
    ),
    "wrong number of units": (lambda: rbm().free_energy([[0, 1]]), ValueError, "v must"),
    "three axes": (lambda: rbm().mean_hidden(np.zeros((1, 1, 3))), ValueError, "v must"),
    "a number": (lambda: rbm().mean_hidden(1), ValueError, "v must"),
    "as many rows": (
        lambda: rbm().energy(BITS, np.zeros((3, 2))),
        ValueError,
        "equally many rows",
    ),
    "h of the wrong length": (lambda: rbm().mean_visible([0, 1, 1]), ValueError, "h must"),
    "spins to bits": (lambda: rbm().mean_hidden(SPINS), ValueError, r"\(x \+ 1\) // 2"),
    "bits to spins": (lambda: rbm(Spin).mean_hidden(BITS), ValueError, r"2 \* x"),
    "wrapped -1": (
        lambda: rbm(Spin).mean_hidden(np.array([[1, 255, 1]], np.uint8)),
        ValueError,
        "uint8 cannot hold -1",
    ),
    "fractions": (lambda: rbm().sample_hidden([[0.5, 1, 0]]), ValueError, "row 0, column 0"),
    "h is not a state": (lambda: rbm().sample_visible([[0, 2]]), ValueError, "h must"),
    "which of two": (lambda: rbm().energy(BITS, [[0, 1], [0, 3]]), ValueError, "h must"),
    "NaN": (lambda: rbm(Gaussian).free_energy([[0.0, NAN, 1.0]]), ValueError, "v must"),
    "infinity": (lambda: rbm(Gaussian).mean_hidden([[0.0, INF, 1.0]]), ValueError, "v must"),
    "beyond float32": (
        lambda: rbm(Gaussian).mean_hidden([[0.0, 1e300, 1.0]]),
        ValueError,
        "v must",
    ),
    "text": (lambda: rbm().mean_hidden([["a", "b", "c"]]), TypeError, "v must"),
    "complex": (lambda: rbm().mean_hidden(BITS * 1j), TypeError, "v must"),
    "beta": (lambda: rbm(Gaussian).free_energy([[0.0] * 3], beta=0), ValueError, "beta"),
    "positional beta": (lambda: rbm().mean_hidden(BITS, 0.5), TypeError, None),
    "int8 reals": (
        lambda: rbm(Gaussian).sample_visible([[0, 1]], dtype="int8"),
        ValueError,
        "int8",
    ),
    "pseudo-likelihood of reals": (
        lambda: pseudo_likelihood(rbm(Gaussian), np.zeros((2, 3))),
        ValueError,
        "discrete",
    ),
    "pseudo-likelihood of nothing": (
        lambda: pseudo_likelihood(rbm(), np.empty((0, 3))),
        ValueError,
        "data",
    ),
    "exact is no flag": (lambda: pseudo_likelihood(rbm(), BITS, exact="no"), TypeError, "exact"),
    "not an RBM": (lambda: pseudo_likelihood("model", BITS), TypeError, "rbm"),
}

SAMPLING = {
    "not an RBM": (lambda: sample(BITS), TypeError, "rbm"),
    "no chains": (lambda: sample(rbm(), n_chains=0), ValueError, "n_chains"),
    "chains as text": (lambda: sample(rbm(), n_chains="4"), TypeError, "n_chains"),
    "negative draws": (lambda: sample(rbm(), n_draws=-1), ValueError, "n_draws"),
    "fractional draws": (lambda: sample(rbm(), n_draws=2.5), TypeError, "n_draws"),
    "negative burn-in": (lambda: sample(rbm(), burn_in=-1), ValueError, "burn_in"),
    "no thinning": (lambda: sample(rbm(), thin=0), ValueError, "thin"),
    "init of the wrong shape": (lambda: sample(rbm(), init=[[0, 1]]), ValueError, "init"),
    "init of other states": (lambda: sample(rbm(), init=SPINS), ValueError, "init"),
    "init NaN": (lambda: sample(rbm(Gaussian), init=with_nan(BITS)), ValueError, "init"),
    "init without rows": (lambda: sample(rbm(), init=np.empty((0, 3))), ValueError, "init"),
    "init and n_chains": (lambda: sample(rbm(), init=BITS, n_chains=3), ValueError, "n_chains"),
    "result of another model": (
        lambda: sample(rbm(), init=sample(RBM(Spin(5), Spin(2)), n_draws=1)),
        ValueError,
        "init",
    ),
    "clamp without init": (lambda: sample(rbm(), clamp=[True, False, False]), ValueError, "init"),
    "clamp of the wrong shape": (
        lambda: sample(rbm(), init=BITS, clamp=[True, False]),
        ValueError,
        "clamp",
    ),
    "clamp of indices": (lambda: sample(rbm(), init=BITS, clamp=[0, 2, 1]), TypeError, "clamp"),
    "beta": (lambda: sample(rbm(), beta=-0.5), ValueError, "beta"),
    "beta zero of reals": (lambda: sample(rbm(Gaussian), beta=0), ValueError, "beta"),
    "beta a bool": (lambda: sample(rbm(), beta=True), TypeError, "beta"),
    "progress": (lambda: sample(rbm(), progress="no"), TypeError, "progress"),
    "beta beyond float32": (lambda: sample(rbm(), beta=1e39), ValueError, "beta"),
    "init beyond float32": (
        lambda: sample(rbm(Gaussian), init=[1e300, 0.0, 0.0]),
        ValueError,
        "init",
    ),
    "dtype": (lambda: sample(rbm(), dtype="int16"), ValueError, "dtype"),
    "observers": (lambda: sample(rbm(), observers=[print]), TypeError, "observers"),
    "an observer's class": (lambda: sample(rbm(), observers=[fastrbm.Moments]), TypeError, "obs"),
    "callback": (lambda: sample(rbm(), callback=3), TypeError, "callback"),
    "no threads": (lambda: sample(rbm(), n_threads=0), ValueError, "n_threads"),
    "fractional threads": (lambda: sample(rbm(), n_threads=1.5), TypeError, "n_threads"),
    "burn-in beyond the counter": (lambda: sample(rbm(), burn_in=2**70), ValueError, "burn_in"),
    "thinning beyond the counter": (lambda: sample(rbm(), thin=2**64), ValueError, "thin"),
    "chains beyond the counter": (lambda: sample(rbm(), n_chains=2**33), ValueError, "n_chains"),
    "unknown name": (lambda: sample(rbm(), n_sample=3), TypeError, "n_sample"),
    "positional": (lambda: sample(rbm(), 10), TypeError, None),
}


def train(data=BITS, **options):
    return train_cd(data, **options)


TRAINING = {
    "no data": (lambda: train(np.empty((0, 3))), ValueError, "data must not be empty"),
    "no columns": (lambda: train(np.empty((3, 0))), ValueError, "data must not be empty"),
    "one row": (lambda: train(BITS[0]), ValueError, "data must have shape"),
    "images": (lambda: train(np.zeros((2, 3, 3))), ValueError, "data must have shape"),
    "NaN": (lambda: train(with_nan(BITS)), ValueError, "row 1, column 2"),
    "infinity": (
        lambda: train(with_nan(BITS, value=INF), visible="gaussian"),
        ValueError,
        "data must be finite",
    ),
    "objects": (lambda: train([["a", "b"]]), TypeError, "data"),
    "complex": (lambda: train(BITS * 1j), TypeError, "data"),
    "only ones": (lambda: train(np.ones((3, 2))), ValueError, "visible="),
    "three values": (lambda: train(np.array([[-1, 0, 1]])), ValueError, "-1, 0 and 1"),
    "fractions": (lambda: train(np.array([[0.0, 0.5]])), ValueError, "probabilities"),
    "wrapped -1": (lambda: train(np.array([[1, 255]], np.uint8)), ValueError, "uint8 cannot"),
    "grey levels": (lambda: train(np.array([[0, 7, 255]], np.uint8)), ValueError, "binarise"),
    "reals": (lambda: train(np.array([[0.0, 3.7, -2.0]])), ValueError, "gaussian"),
    "spins as bits": (lambda: train(SPINS, visible="bernoulli"), ValueError, r"\(x \+ 1\) // 2"),
    "bits as spins": (lambda: train(BITS, visible="spin"), ValueError, r"2 \* x"),
    "more than one": (
        lambda: train(np.array([[0.5, 1.5]]), visible="bernoulli"),
        ValueError,
        "0..1",
    ),
    "fractions of spins": (
        lambda: train(np.array([[-0.5, 1.0]]), visible="spin"),
        ValueError,
        "-1 or \\+1",
    ),
    "fractions for a model": (
        lambda: train(BITS * 0.5, model=rbm()),
        ValueError,
        "visible='bernoulli'",
    ),
    "spins for a model": (lambda: train(SPINS, model=rbm()), ValueError, "data must hold 0 or 1"),
    "k": (lambda: train(k=0), ValueError, "k must"),
    "k fractional": (lambda: train(k=1.5), TypeError, "k must"),
    "k beyond the counter": (lambda: train(k=2**70), ValueError, "k must"),
    "batch beyond the counter": (lambda: train(batch_size=2**70), ValueError, "batch_size"),
    "chains beyond the counter": (
        lambda: train(persistent=True, n_chains=2**33),
        ValueError,
        "n_chains",
    ),
    "reals beyond float32": (
        lambda: train(np.full((5, 3), 1e300), visible="gaussian"),
        ValueError,
        "data",
    ),
    "epochs": (lambda: train(n_epochs=-1), ValueError, "n_epochs"),
    "batch": (lambda: train(batch_size=0), ValueError, "batch_size"),
    "rate": (lambda: train(learning_rate=-0.1), ValueError, "learning_rate"),
    "rate NaN": (lambda: train(learning_rate=NAN), ValueError, "learning_rate"),
    "rate text": (lambda: train(learning_rate="fast"), TypeError, "learning_rate"),
    "rate of an epoch": (lambda: train(learning_rate=lambda e: -1.0), ValueError, "learning_rate"),
    "momentum": (lambda: train(momentum=-0.1), ValueError, "momentum"),
    "momentum one": (lambda: train(momentum=1.0), ValueError, "momentum"),
    "decay": (lambda: train(weight_decay=-1e-4), ValueError, "weight_decay"),
    "max_norm": (lambda: train(max_norm=0), ValueError, "max_norm"),
    "max_norm negative": (lambda: train(max_norm=-1.0), ValueError, "max_norm"),
    "n_hidden": (lambda: train(n_hidden=0), ValueError, "n_hidden"),
    "n_hidden and model": (lambda: train(model=rbm(), n_hidden=64), ValueError, "n_hidden"),
    "n_hidden and layer": (lambda: train(hidden=Spin(3), n_hidden=4), ValueError, "n_hidden"),
    "visible and model": (lambda: train(model=rbm(), visible="spin"), ValueError, "visible"),
    "hidden and model": (lambda: train(model=rbm(), hidden="gaussian"), ValueError, "hidden"),
    "a layer and model": (
        lambda: train(model=rbm(), hidden=Bernoulli(2, bias=1.0)),
        ValueError,
        "hidden",
    ),
    "columns and model": (lambda: train(BITS[:, :2], model=rbm()), ValueError, "data must have 3"),
    "columns and layer": (lambda: train(visible=Bernoulli(4)), ValueError, "visible"),
    "unknown visible": (lambda: train(visible="binary"), ValueError, "visible must be one of"),
    "unknown hidden": (lambda: train(hidden="relu"), ValueError, "hidden must be one of"),
    "hidden is a class": (lambda: train(hidden=Spin), TypeError, "hidden"),
    "model is no RBM": (lambda: train(model="model.npz"), TypeError, "model"),
    "unknown statistics": (lambda: train(statistics="mean"), ValueError, "statistics"),
    "unknown freeze": (lambda: train(freeze=("bias",)), ValueError, "freeze must be one of"),
    "freeze number": (lambda: train(freeze=3), TypeError, "freeze"),
    "unknown metric": (lambda: train(metrics=("loss",)), ValueError, "metrics must be one of"),
    "pseudo-likelihood of reals": (
        lambda: train(BITS * 0.3, visible="gaussian", metrics="pseudo_likelihood"),
        ValueError,
        "discrete",
    ),
    "gap without data": (
        lambda: train(metrics="free_energy_gap"),
        ValueError,
        "needs validation_data",
    ),
    "gap with other states": (
        lambda: train(metrics="free_energy_gap", validation_data=SPINS),
        ValueError,
        "validation_data",
    ),
    "gap with other columns": (
        lambda: train(metrics="free_energy_gap", validation_data=BITS[:, :2]),
        ValueError,
        "validation_data",
    ),
    "unused validation NaN": (
        lambda: train(validation_data=with_nan(BITS)),
        ValueError,
        "validation_data",
    ),
    "metrics_rows": (lambda: train(metrics_rows=0), ValueError, "metrics_rows"),
    "n_chains without PCD": (lambda: train(n_chains=10), ValueError, "persistent"),
    "chains without PCD": (lambda: train(chains=BITS), ValueError, "persistent"),
    "chains and n_chains": (
        lambda: train(persistent=True, chains=BITS, n_chains=5),
        ValueError,
        "n_chains",
    ),
    "chains of the wrong width": (
        lambda: train(persistent=True, chains=BITS[:, :2]),
        ValueError,
        "chains",
    ),
    "chains of other states": (lambda: train(persistent=True, chains=SPINS), ValueError, "chains"),
    "no chains": (lambda: train(persistent=True, n_chains=0), ValueError, "n_chains"),
    "persistent is no flag": (lambda: train(persistent="yes"), TypeError, "persistent"),
    "callback": (lambda: train(callback="print"), TypeError, "callback"),
    "dtype": (lambda: train(dtype="float16"), ValueError, "dtype"),
    "threads": (lambda: train(n_threads=0), ValueError, "n_threads"),
    "rng": (lambda: train(rng="seed"), TypeError, "rng"),
    "unknown name": (lambda: train(epochs=3), TypeError, "epochs"),
    "positional": (lambda: train_cd(BITS, 64), TypeError, None),
}


def table(cases):
    return pytest.mark.parametrize(
        ("call", "error", "message"), list(cases.values()), ids=list(cases)
    )


@table(LAYERS)
def test_layers(call, error, message):
    with pytest.raises(error, match=message):
        call()


@table(MODELS)
def test_models(call, error, message):
    with pytest.raises(error, match=message):
        call()


@table(SAMPLING)
def test_sampling(call, error, message):
    with pytest.raises(error, match=message):
        call()


@table(TRAINING)
def test_training(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_messages_say_what_was_given():
    """The argument, what it got, and what it needs."""
    with pytest.raises(ValueError, match=r"^batch_size must be an integer >= 1, got 0$"):
        train(batch_size=0)
    with pytest.raises(ValueError, match=r"^v must have shape \(n_samples, 3\) or \(3,\), got"):
        rbm().free_energy([[0, 1]])


def test_a_refused_call_changes_nothing():
    """Models, data and files are as before; a generator has advanced by at most one key."""
    model, before = rbm(), rbm()
    data = BITS.copy()
    with pytest.raises(ValueError, match="weights"):
        model.weights = np.full((3, 2), NAN)
    with pytest.raises(ValueError, match="bias"):
        model.visible.bias = [0.0, NAN, 0.0]
    with pytest.raises(ValueError, match="learning_rate"):
        train_cd(data, model=model, learning_rate=-1)
    with pytest.raises(ValueError, match="row 1"):
        model.sample_hidden(with_nan(data))
    assert model == before
    np.testing.assert_array_equal(data, BITS)


def test_a_refused_save_writes_nothing(tmp_path):
    with pytest.raises(OSError, match="missing"):
        rbm().save(tmp_path / "missing" / "model.npz")
    assert os.listdir(tmp_path) == []


def test_refused_before_any_work():
    """A wrong option is noticed before a long run begins, not after it."""
    calls = []
    with pytest.raises(ValueError, match="metrics"):
        train(n_epochs=10**9, metrics="loss", callback=calls.append)
    with pytest.raises(ValueError, match="dtype"):
        sample(rbm(), burn_in=10**9, dtype="int16", callback=calls.append)
    assert calls == []


def test_nan_deep_in_a_large_array():
    """The place is found in any layout."""
    data = np.zeros((300, 70), np.float32)
    data[211, 69] = NAN
    for form in (data, np.asfortranarray(data), data.astype(float)):
        with pytest.raises(ValueError, match="row 211, column 69"):
            train(form)
    bits = np.zeros((300, 70), np.int16)
    bits[299, 3] = 2
    with pytest.raises(ValueError, match="got 2 in row 299, column 3"):
        RBM(Bernoulli(70), Spin(2)).mean_hidden(bits)


# ------------------------------------------------------------------- the helpers, one by one


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: validation.integer("n", np.bool_(1), 0), TypeError),
        (lambda: validation.integer("n", None, 0), TypeError),
        (lambda: validation.integer("n", 4, 5), ValueError),
        (lambda: validation.number("x", None), TypeError),
        (lambda: validation.number("x", "3"), TypeError),
        (lambda: validation.number("x", [1, 2]), TypeError),
        (lambda: validation.number("x", INF), ValueError),
        (lambda: validation.number("x", 1.0, below=1.0), ValueError),
        (lambda: validation.number("x", 0.0, minimum=0.0, open_minimum=True), ValueError),
        (lambda: validation.flag("f", 1), TypeError),
        (lambda: validation.choice("c", ["a"], ("a",)), TypeError),
        (lambda: validation.choice("c", "b", ("a",)), ValueError),
        (lambda: validation.model_dtype("d", None), ValueError),
        (lambda: validation.state_dtype("float64", True, np.dtype("float32")), ValueError),
        (lambda: validation.real_array("a", np.array([object()])), TypeError),
        (lambda: validation.real_array("a", np.array(["2020-01-01"], "M8[D]")), TypeError),
    ],
)
def test_helpers_refuse(call, error):
    with pytest.raises(error):
        call()


def test_helpers_take_numpy_scalars():
    assert validation.integer("n", np.int64(3), 1) == 3
    assert type(validation.integer("n", np.uint8(3), 1)) is int
    assert validation.number("x", np.float32(0.5)) == 0.5
    assert validation.number("x", 2) == 2.0
    assert validation.flag("f", np.bool_(True)) is True
    assert validation.real_array("a", np.zeros(2, ">i4")).dtype.isnative
    assert validation.real_array("a", np.zeros(2, np.longdouble)).dtype == np.float64
