"""Layers: the formulas against the oracle and against calculus, draws against their law."""

import copy
import pickle

import adapters
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import checks, layers, philox
from reference.checks import ALPHA
from scipy import stats
from scipy.special import expit

import fastrbm
from fastrbm import Bernoulli, Gaussian, Spin

UNITS = {"bernoulli": Bernoulli, "spin": Spin, "gaussian": Gaussian}
units = pytest.mark.parametrize("unit", UNITS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)

biases = st.floats(-5, 5, width=32)
precisions = st.floats(0.125, 8, width=32)
inputs = st.floats(-30, 30, width=32)
betas = st.floats(0.125, 4, width=32)
any_unit = st.sampled_from(sorted(UNITS))


def both(unit, bias, precision, dtype="float64"):
    """One unit as the package's layer and as the oracle's."""
    more = {"precision": precision} if unit == "gaussian" else {}
    oracle = getattr(layers, unit)(np.array([bias]), **more)
    return adapters.to_layer(oracle, dtype), oracle


def states_of(unit):
    return {"bernoulli": [0, 1], "spin": [-1, 1], "gaussian": [-2.5, -0.5, 0.0, 3.0]}[unit]


# --------------------------------------------------------------------------- against the oracle


@given(any_unit, biases, precisions, inputs, betas)
def test_formulas(unit, bias, precision, x, beta):
    layer, oracle = both(unit, bias, precision)
    x = np.array([x])
    # cgf is a sum of terms of this size that may cancel; 16 digits of them remain.
    size = (
        beta * (abs(x[0]) + abs(bias)) * (1 if unit != "gaussian" else abs(x[0] + bias) / precision)
    )
    assert layer.cgf(x, beta=beta) == pytest.approx(
        oracle.cgf(x, beta), rel=1e-13, abs=1e-14 * size
    )
    assert layer.mean(x, beta=beta) == pytest.approx(oracle.mean(x, beta), rel=1e-12, abs=1e-14)
    assert layer.variance(x, beta=beta) == pytest.approx(oracle.variance(x, beta), rel=1e-10)
    for state in states_of(unit):
        expected = oracle.log_weight(np.array([state]))
        assert layer.log_weight([state]) == pytest.approx(expected, rel=1e-14)


@given(any_unit, biases, precisions, inputs, betas)
def test_single_precision(unit, bias, precision, x, beta):
    """float32 layers keep their log-odds to rounding, and with them mean and variance."""
    layer, oracle = both(unit, bias, precision, "float32")
    x = np.array([x])
    slack = 1e-6 * (1 + beta * (abs(x[0]) + abs(bias)))
    mean = layer.mean(x, beta=beta)
    assert mean.dtype == np.float32
    low = -1.0 if unit == "spin" else 0.0
    if unit == "gaussian":
        scale = (abs(x[0]) + abs(bias)) / precision
        assert mean == pytest.approx(oracle.mean(x, beta), abs=1e-6 * scale)
    else:
        near = np.minimum(oracle.mean(x, beta) - low, 1 - oracle.mean(x, beta))
        tolerance = slack * near + 2e-7 * (unit == "spin") + 1e-7 * (oracle.mean(x, beta) > 0.5)
        assert mean == pytest.approx(oracle.mean(x, beta), abs=float(tolerance[0]) + 1e-37)
    assert layer.cgf(x, beta=beta) == pytest.approx(oracle.cgf(x, beta), rel=1e-12)


# ------------------------------------------------------------------------------ against calculus


@given(any_unit, biases, precisions, st.floats(-8, 8), betas)
def test_derivatives_of_cgf(unit, bias, precision, x, beta):
    """cgf' = beta mean, cgf'' = beta^2 variance, by central differences of fourth order."""
    layer, _ = both(unit, bias, precision)
    step = 1e-3
    f = [float(layer.cgf([x + i * step], beta=beta)[0]) for i in (-2, -1, 0, 1, 2)]
    first = (f[0] - 8 * f[1] + 8 * f[3] - f[4]) / (12 * step)
    second = (-f[0] + 16 * f[1] - 30 * f[2] + 16 * f[3] - f[4]) / (12 * step**2)
    # Rounding of f over the steps, and step^4 times the next derivative (<= beta^5, beta^6).
    error = 1e-15 * max(1.0, *map(abs, f))
    slack = 4 * error / step + step**4 * (2 * beta) ** 5
    assert beta * layer.mean([x], beta=beta)[0] == pytest.approx(first, abs=slack)
    slack = 16 * error / step**2 + step**4 * (2 * beta) ** 6
    assert beta**2 * layer.variance([x], beta=beta)[0] == pytest.approx(second, abs=slack)


@given(any_unit, biases, precisions, st.floats(-8, 8), betas)
def test_cgf_is_the_log_of_an_integral(unit, bias, precision, x, beta):
    """Sum, or trapezoid rule, of exp(beta (log_weight + x s)) over the states."""
    layer, _ = both(unit, bias, precision)
    if unit == "gaussian":
        centre, sd = (bias + x) / precision, 1 / np.sqrt(beta * precision)
        grid, spacing = np.linspace(centre - 12 * sd, centre + 12 * sd, 2001, retstep=True)
    else:
        grid, spacing = np.array(states_of(unit), float), 1.0
    terms = beta * (layer.log_weight(grid[:, None])[:, 0] + x * grid)
    top = terms.max()
    integral = top + np.log(np.exp(terms - top).sum() * spacing)
    assert layer.cgf([x], beta=beta)[0] == pytest.approx(integral, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
def test_beta_zero(unit):
    layer = UNITS[unit](3, bias=[5.0, -1.0, 0.0])
    np.testing.assert_allclose(layer.cgf([9.0, -2.0, 0.0], beta=0), np.log(2), rtol=1e-15)
    np.testing.assert_allclose(
        layer.mean([9.0, 1.0, 0.0], beta=0), 0.5 if unit == "bernoulli" else 0.0
    )


def test_beta_zero_needs_discrete_units():
    with pytest.raises(ValueError, match="beta"):
        Gaussian(2).cgf(0.0, beta=0)


# -------------------------------------------------------------------------------------- extremes


@dtypes
@pytest.mark.parametrize("x", [40.0, 100.0, 710.0, 1e4, 1e30])
def test_saturation(dtype, x):
    """No overflow, no NaN, and exact limits, far beyond where exp and cosh overflow."""
    zero = np.zeros(1, dtype)
    for layer, low, slope in ((Bernoulli(1, bias=zero), 0.0, 0.0), (Spin(1, bias=zero), -1.0, 1.0)):
        assert layer.mean([x])[0] == 1.0
        assert layer.mean([-x])[0] == pytest.approx(low, abs=1e-16)
        assert layer.cgf([x])[0] == pytest.approx(x, rel=1e-14)
        assert layer.cgf([-x])[0] == pytest.approx(slope * x, rel=1e-14, abs=1e-17)
        assert layer.variance([x])[0] == pytest.approx(0, abs=1e-16)
        assert layer.sample(np.full((1000, 1), x), rng=1).min() == 1
        assert layer.sample(np.full((1000, 1), -x), rng=1).max() == low


def test_small_probabilities_keep_their_digits():
    """Relative accuracy where 1 - p has none."""
    layer = Bernoulli(1)
    for x in (-10.0, -40.0, -300.0, -700.0):
        assert layer.mean([x])[0] == pytest.approx(expit(x), rel=1e-12)
        assert layer.cgf([x])[0] == pytest.approx(np.log1p(np.exp(x)), rel=1e-12)
        assert layer.variance([x])[0] == pytest.approx(expit(x) * expit(-x), rel=1e-12)
        assert layer.variance([-x])[0] == pytest.approx(expit(x) * expit(-x), rel=1e-12)
    assert Spin(1).variance([20.0])[0] == pytest.approx(1 / np.cosh(20.0) ** 2, rel=1e-12)


# ----------------------------------------------------------------------------------------- draws


@units
@dtypes
@pytest.mark.parametrize(("n_rows", "n"), [(1, 1), (7, 5), (33, 64), (20, 67), (5, 200)])
def test_draws_are_the_oracles(unit, dtype, n_rows, n):
    """State for state, on the same words, for sizes around every width of the kernels."""
    rng = np.random.default_rng(n)
    x = rng.normal(0, 2, (n_rows, n)).astype(dtype)
    more = {"precision": rng.uniform(0.5, 2, n)} if unit == "gaussian" else {}
    oracle = getattr(layers, unit)(rng.normal(size=n).astype(dtype), **more)
    key = int(np.random.default_rng(5).integers(2**64, dtype=np.uint64))
    words = oracle.words(key, "LAYER", 0, np.arange(n_rows))
    drawn = adapters.to_layer(oracle, dtype).sample(x, rng=5, beta=0.8)
    assert drawn.dtype == dtype
    expected = oracle.draw(x.astype(float), 0.8, words)
    if unit == "gaussian":
        np.testing.assert_allclose(
            drawn, expected, rtol=0, atol=3e-6 if dtype == "float32" else 1e-12
        )
    else:
        assert oracle.margin(x.astype(float), 0.8, words).min() > 5e-6  # no word on the fence
        np.testing.assert_array_equal(drawn, expected)


@dtypes
@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
def test_thresholds(unit, dtype):
    """Every draw follows its word, where 16 bits of it decide and where they do not."""
    n_rows = 200_000
    x = np.array([-30, -18, -12, -7, -3, -1, -0.125, 0, 0.125, 1, 3, 7, 12, 18, 30, 300], dtype)
    step = 2 if unit == "spin" else 1
    layer = UNITS[unit](len(x), bias=np.zeros(len(x), dtype))
    up = layer.sample(np.broadcast_to(x / step, (n_rows, len(x))), rng=3) == 1
    key = int(np.random.default_rng(3).integers(2**64, dtype=np.uint64))
    words = philox.bit_words(key, "LAYER", 0, np.arange(n_rows), len(x)).astype(np.int64)
    rarer = np.floor(2.0**32 * expit(-np.abs(x.astype(float)))).astype(np.int64)
    thresholds = np.where(x < 0, rarer, 2**32 - rarer)
    np.testing.assert_array_equal(up, words < thresholds)
    # The test sees the lower halves: upper ones at the threshold's own go either way.
    tied = (words >> 16 == thresholds >> 16) & (rarer > 0)
    assert up[tied].sum() > 5
    assert (~up[tied]).sum() > 5


@dtypes
def test_tail_of_the_sigmoid(dtype):
    """1e7 draws at x = -11: 167 ones; at x = +11 as many zeros; at x = -60 none."""
    n = 1000
    layer = Bernoulli(n, bias=np.zeros(n, dtype))
    expected = 1e7 * expit(-11.0)
    for x, rare in ((-11.0, 1), (11.0, 0)):
        drawn = layer.sample(np.full((10_000, n), x, dtype), rng=8, dtype="int8")
        assert two_sided_poisson((drawn == rare).sum(), expected) > ALPHA
    assert layer.sample(np.full((10_000, n), -60.0, dtype), rng=8, dtype="int8").max() == 0


@dtypes
def test_normals(dtype):
    """1e7 normals: 4096 equally likely cells, and the tails beyond 4 and 5."""
    n = 1000
    drawn = Gaussian(n, bias=np.zeros(n, dtype)).sample(np.zeros((10_000, n), dtype), rng=9)
    z = drawn.ravel()
    cells = (stats.norm.cdf(z[:2_000_000].astype(float)) * 4096).astype(int)
    assert checks.chi_square(cells, np.full(4096, 1 / 4096)) > ALPHA
    for cut in (4.0, 5.0):
        expected = len(z) * stats.norm.sf(cut)
        assert two_sided_poisson((z > cut).sum(), expected) > ALPHA
        assert two_sided_poisson((z < -cut).sum(), expected) > ALPHA
    # The middle has no gap and the last cell ends where 32-bit words do, at 6.3.
    assert np.abs(z).min() < 1e-5
    assert np.abs(z).max() < 6.34


def two_sided_poisson(count, expected):
    return min(
        1, 2 * min(stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected))
    )


@pytest.mark.slow
def test_tail_of_the_sigmoid_at_length():
    """1e9 draws at x = -18: 15.2 ones."""
    layer = Bernoulli(1000, bias=np.zeros(1000, np.float32))
    x = np.full((10_000, 1000), -18.0, np.float32)
    rng = np.random.default_rng(12)
    ones = sum(int(layer.sample(x, rng=rng, dtype="int8").sum()) for _ in range(100))
    assert two_sided_poisson(ones, 1e9 * expit(-18.0)) > ALPHA


@pytest.mark.slow
@dtypes
def test_tail_of_the_normal_at_length(dtype):
    """1e9 normals: 573 beyond 5 standard deviations."""
    layer = Gaussian(1000, bias=np.zeros(1000, dtype))
    x = np.zeros((10_000, 1000), dtype)
    rng = np.random.default_rng(13)
    beyond = sum(int((np.abs(layer.sample(x, rng=rng)) > 5).sum()) for _ in range(100))
    assert two_sided_poisson(beyond, 2e9 * stats.norm.sf(5.0)) > ALPHA


@units
def test_units_are_independent(unit):
    """Neighbouring units, and neighbouring rows, at p = 1/2."""
    layer = UNITS[unit](2)
    drawn = layer.sample(np.zeros((200_000, 2)), rng=4) > (0.5 if unit == "bernoulli" else 0)
    for a, b in ((drawn[:, 0], drawn[:, 1]), (drawn[::2, 0], drawn[1::2, 0])):
        assert checks.chi_square(2 * a.astype(int) + b, np.full(4, 0.25)) > ALPHA


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
def test_int8_draws(unit):
    layer = UNITS[unit](9)
    x = np.linspace(-2, 2, 45).reshape(5, 9)
    small = layer.sample(x, rng=1, dtype=np.int8)
    assert small.dtype == np.int8
    np.testing.assert_array_equal(small, layer.sample(x, rng=1))


def test_int8_needs_discrete_units():
    with pytest.raises(ValueError, match="int8"):
        Gaussian(2).sample(0.0, dtype=np.int8)


# ------------------------------------------------------------------------------- shapes and types


@units
def test_leading_axes(unit):
    layer = UNITS[unit](3, bias=[0.1, 0.2, 0.3])
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    for function in (layer.cgf, layer.mean, layer.variance, lambda a: layer.sample(a, rng=1)):
        whole = function(x)
        assert whole.shape == (2, 4, 3)
        np.testing.assert_array_equal(whole.reshape(8, 3), function(x.reshape(8, 3)))
    assert layer.mean(x[0, 0]).shape == (3,)
    np.testing.assert_array_equal(layer.mean(0.5), layer.mean([0.5, 0.5, 0.5]))
    assert layer.mean(np.empty((0, 3))).shape == (0, 3)


@units
def test_results_have_the_layers_dtype(unit):
    for dtype in adapters.DTYPES:
        layer = UNITS[unit](2, bias=np.zeros(2, dtype))
        assert layer.mean(0.0).dtype == layer.variance(0.0).dtype == dtype
        assert layer.sample(0.0, rng=1).dtype == dtype
        assert layer.cgf(0.0).dtype == layer.log_weight(np.ones(2)).dtype == np.float64


@units
@pytest.mark.parametrize(
    ("given_dtype", "kept"),
    [("float32", "float32"), ("float64", "float64"), ("int64", "float64"), ("float16", "float64"),
     ("bool", "float64")],
)  # fmt: skip
def test_kept_dtype(unit, given_dtype, kept):
    layer = UNITS[unit](2, bias=np.ones(2, given_dtype))
    assert layer.bias.dtype == kept


@units
def test_layer_owns_its_parameters(unit):
    bias = np.zeros(3)
    layer = UNITS[unit](3, bias=bias)
    bias[:] = 7
    assert (layer.bias == 0).all()
    names = ["bias", "precision"] if unit == "gaussian" else ["bias"]
    assert list(layer.parameters) == names
    assert layer.n == 3
    layer.bias[0] = 2.0  # in place, and seen by the formulas
    assert layer.mean(0.0)[0] == UNITS[unit](1, bias=2.0).mean(0.0)[0]
    layer.bias = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(layer.parameters["bias"], [1, 2, 3])


@units
def test_equality_copies_and_repr(unit):
    layer = UNITS[unit](2, bias=[1.0, -1.0])
    for twin in (layer.copy(), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin == layer
        assert type(twin) is type(layer)
        twin.bias[0] = 5.0
        assert twin != layer
    assert layer != UNITS[unit](3)
    assert layer != layer.astype("float32")
    assert layer != "a layer"
    assert repr(layer).startswith(type(layer).__name__ + "(2")


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=70), betas)
def test_units_do_not_see_each_other(x, beta):
    """Any number of units at once gives what each gives alone (vector tails included)."""
    for kind in UNITS.values():
        together = kind(len(x))
        alone = kind(1)
        for name in ("mean", "variance", "cgf"):
            whole = getattr(together, name)(x, beta=beta)
            parts = [getattr(alone, name)([value], beta=beta)[0] for value in x]
            np.testing.assert_array_equal(whole, parts)


def test_public_names():
    assert fastrbm.Bernoulli is Bernoulli
    assert {Bernoulli.__name__, Spin.__name__, Gaussian.__name__} <= set(fastrbm.__all__)
