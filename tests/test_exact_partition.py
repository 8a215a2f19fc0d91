"""log_partition against enumeration of the parameters as stored, method by method.

The rule is that of reference.proof: |error| <= 1e-13 max(1, max |F|), and never above z.error.
test_exact_closed_forms.py goes beyond what can be enumerated.
"""

from dataclasses import replace

import adapters
import mpmath
import numpy as np
import pytest
from reference import models, proof
from reference.enumeration import (
    DIGITS,
    Enumeration,
    enumerate_in_mpmath,
    enumerate_model,
    smaller_side,
)

import fastrbm
from fastrbm import _lib, log_partition

pairs = pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
scales = pytest.mark.parametrize("scale", proof.SCALES)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)
GAUSSIAN_PAIRS = [pair for pair in models.MIXED_PAIRS if "gaussian" in pair]
DISCRETE_PAIRS = [pair for pair in models.MIXED_PAIRS if "gaussian" not in pair]
gaussian_pairs = pytest.mark.parametrize(("visible", "hidden"), GAUSSIAN_PAIRS)
discrete_pairs = pytest.mark.parametrize(("visible", "hidden"), DISCRETE_PAIRS)
LEVELS = _lib.simd_levels()


def methods(visible, hidden):
    """The methods that can take any small model of a pair, by name."""
    return ("pairwise", "split", "elimination") if "gaussian" in (visible, hidden) else (
        "split", "elimination",
    )  # fmt: skip


by_method = pytest.mark.parametrize(
    ("visible", "hidden", "method"),
    [(*pair, method) for pair in models.MIXED_PAIRS for method in ("auto", *methods(*pair))],
)


# -------------------------------------------------------------------------- against enumeration


@scales
@dtypes
@pairs
def test_definition(visible, hidden, dtype, scale):
    """At most 8 units a side, against the definition at 50 digits, by every method."""
    model = adapters.random_model(visible, hidden, 4, 4, seed=3, scale=0.5)
    model = adapters.stored(proof.scaled(model, scale), dtype)
    with mpmath.workdps(DIGITS):
        truth = enumerate_in_mpmath(model, 0.8)
        allowed = 1e-13 * max(1, truth.largest)
        for method in ("auto", *methods(visible, hidden)):
            z = log_partition(adapters.to_rbm(model, dtype), method=method, beta=0.8)
            error = abs(mpmath.mpf(z.value) - truth.log_z)
            assert error <= allowed, method
            assert error <= z.error, method


@scales
@dtypes
@pytest.mark.parametrize("shape", [(14, 12), (9, 14)])
@pairs
def test_enumeration(visible, hidden, shape, dtype, scale):
    """Up to 14 enumerated units: all pairs, methods, types and sizes of the weights."""
    model = adapters.random_model(visible, hidden, *shape, seed=4, scale=0.4)
    model = adapters.stored(proof.scaled(model, scale), dtype)
    for method in ("auto", *methods(visible, hidden)):
        function = adapters.log_partition(method=method, stored_as=dtype)
        assert proof.excess(function, model, 0.9, smaller_side(model)) <= 1, method


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 1), (2, 1), (1, 7), (3, 40), (40, 3)])
@by_method
def test_sizes(visible, hidden, method, n_visible, n_hidden):
    """One unit, fewer units than groups, and a long layer beside a short one."""
    if visible == "gaussian" and n_hidden == 40:
        n_hidden = 6
    if hidden == "gaussian" and n_visible == 40:
        n_visible = 6
    model = adapters.random_model(visible, hidden, n_visible, n_hidden, scale=0.8)
    assert proof.excess(adapters.log_partition(method=method), model) <= 1


@pytest.mark.parametrize("beta", [1e-6, 0.3, 2.5, 100.0])
@by_method
def test_beta(visible, hidden, method, beta):
    """beta multiplies the whole energy, biases and precisions included."""
    model = adapters.random_model(visible, hidden, 7, 6, scale=0.5)
    assert proof.excess(adapters.log_partition(method=method), model, beta) <= 1


@scales
@gaussian_pairs
def test_float32_stays_in_its_bound(visible, hidden, scale):
    """dtype="float32": coarser by its word, and its word holds."""
    for seed in range(5):
        model = adapters.random_model(visible, hidden, 9, 8, seed=seed, scale=0.4)
        model = proof.scaled(model, scale)
        function = adapters.log_partition(dtype="float32", method="pairwise")
        assert proof.excess(function, model, rule=np.inf) <= 1
        error = function(model).error
        assert error < 1e-3 + 1e-13 * max(1.0, enumerate_model(model, 1.0).largest)


@pytest.mark.parametrize("level", LEVELS)
@dtypes
@pairs
def test_simd_levels(visible, hidden, dtype, level):
    with _lib.use_simd(level):
        for scale in (1.0, 30.0):
            model = adapters.random_model(visible, hidden, 11, 9, seed=6, scale=0.5 * scale)
            for method in methods(visible, hidden):
                function = adapters.log_partition(dtype=dtype, method=method)
                rule = proof.RULE if dtype == "float64" else np.inf
                assert proof.excess(function, model, rule=rule) <= 1, method


@dtypes
@pairs
def test_threads_leave_the_bits(visible, hidden, dtype):
    """1, 2, 3 and 7 threads, on work large enough to be shared."""
    n = 17 if "gaussian" in (visible, hidden) else 14
    model = adapters.random_model(visible, hidden, n, n + 1, seed=6)
    if visible == "gaussian":
        model = adapters.random_model(visible, hidden, 6, n, seed=6)
    for method in ("auto", *methods(visible, hidden)[:-1]):
        results = [
            log_partition(adapters.to_rbm(model), method=method, dtype=dtype, n_threads=n_threads)
            for n_threads in (1, 2, 3, 7)
        ]
        assert len({(z.value, z.error) for z in results}) == 1, method


# -------------------------------------------------------------------------------- the hard cases


def frustrated(seed, factor, n=12):
    """Spin against Gaussian, weights N(0, 0.25) times a factor, no biases."""
    rng = np.random.default_rng(seed)
    weights = 0.5 * factor * rng.standard_normal((n, n))
    return fastrbm.RBM(fastrbm.Spin(n), fastrbm.Gaussian(n), weights=weights)


FACTORS = (1.0, 2.0, 5.0, 10.0, 30.0, 100.0)


@pytest.mark.parametrize("factor", FACTORS)
def test_frustrated_models(factor):
    """200 models in both types: inside the bound or refused, never finite and wrong."""
    refused = {"float64": 0, "float32": 0}
    for seed in range(200):
        rbm = frustrated(seed, factor)
        oracle = Enumeration(adapters.to_oracle(rbm))
        for dtype in refused:
            try:
                z = log_partition(rbm, method="pairwise", dtype=dtype)
            except (ValueError, ArithmeticError):
                refused[dtype] += 1
                continue
            error = oracle.error_of(z.value)
            assert error <= z.error, (seed, dtype)
            if dtype == "float64":
                assert error <= proof.RULE * max(1.0, oracle.largest), seed
    assert refused["float64"] == 0  # nothing here is beyond float64


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("n", [15, 16])
def test_frustrated_models_in_larger_panels(factor, n):
    """Inner blocks longer than a register: what underflows is seen there as well."""
    for seed in range(2):
        rbm = frustrated(seed, factor, n)
        model = adapters.to_oracle(rbm)
        for dtype in ("float64", "float32"):
            function = adapters.log_partition(dtype=dtype, method="pairwise")
            rule = proof.RULE if dtype == "float64" else np.inf
            assert proof.excess(function, model, rule=rule) <= 1, (seed, dtype)


@scales
@dtypes
@gaussian_pairs
def test_field_of_gaussian_biases_alone(visible, hidden, dtype, scale):
    """Zero discrete bias and nonzero Gaussian bias: there is a field, and no symmetry to use."""
    model = adapters.random_model(visible, hidden, 9, 8, seed=8, scale=0.4)
    model = proof.scaled(proof.without_discrete_bias(model), scale)
    for method in ("auto", "pairwise"):
        function = adapters.log_partition(dtype=dtype, method=method)
        assert proof.excess(function, model, rule=proof.RULE if dtype == "float64" else np.inf) <= 1


@scales
@dtypes
@gaussian_pairs
def test_field_cancelled(visible, hidden, dtype, scale):
    """a = -W b / gamma: what rounding leaves of the field is taken as zero or kept, by its size."""
    model = adapters.random_model(visible, hidden, 9, 8, seed=9, scale=0.4)
    model = proof.with_cancelled_field(proof.scaled(model, scale))
    for method in ("auto", "pairwise"):
        function = adapters.log_partition(dtype=dtype, method=method)
        assert proof.excess(function, model, rule=proof.RULE if dtype == "float64" else np.inf) <= 1


@pytest.mark.parametrize(("visible", "hidden"), [("spin", "gaussian"), ("gaussian", "spin")])
def test_symmetry_is_used_where_the_field_is_zero(visible, hidden):
    """Exactly cancelled by biases that float64 holds: half the states; with a field: all."""
    weights = np.random.default_rng(1).integers(-8, 9, (9, 8)) / 8.0
    model = adapters.random_model(visible, hidden, 9, 8)
    layer = model.hidden if hidden == "gaussian" else model.visible
    layer = replace(layer, bias=np.arange(layer.n) / 4, precision=np.full(layer.n, 2.0))
    side = "hidden" if hidden == "gaussian" else "visible"
    with_field = replace(model, weights=weights, **{side: layer})
    without = proof.with_cancelled_field(with_field)
    n = 9 if visible == "spin" else 8
    for chosen, n_states in ((with_field, 2**n), (without, 2 ** (n - 1))):
        function = adapters.log_partition(method="pairwise")
        assert proof.excess(function, chosen) <= 1
        assert function(chosen).n_states == n_states


@pytest.mark.parametrize("exponent", range(-14, 0, 2))
def test_small_fields_are_not_dropped(exponent):
    """A small field moves log Z by its square: it is zero only where that is lost."""
    model = adapters.random_model("spin", "gaussian", 10, 6, seed=2, scale=0.5)
    model = proof.with_cancelled_field(model)
    bias = model.visible.bias + 10.0**exponent * np.sign(model.weights[:, 0])
    model = replace(model, visible=replace(model.visible, bias=bias))
    assert proof.excess(adapters.log_partition(method="pairwise"), model) <= 1


@gaussian_pairs
def test_unequal_precisions(visible, hidden):
    """Over six orders of magnitude."""
    model = adapters.random_model(visible, hidden, 8, 7, scale=0.5)
    side = "hidden" if hidden == "gaussian" else "visible"
    layer = getattr(model, side)
    layer = replace(layer, precision=np.geomspace(1e-3, 1e3, layer.n))
    model = replace(model, **{side: layer})
    for method in ("auto", *methods(visible, hidden)):
        assert proof.excess(adapters.log_partition(method=method), model) <= 1, method


@pytest.mark.parametrize("bias", [-800.0, 800.0])
@by_method
def test_large_biases(visible, hidden, method, bias):
    """Exponentials of single units leave the range of float64."""
    model = adapters.random_model(visible, hidden, 6, 5)
    sides = {
        side: replace(getattr(model, side), bias=getattr(model, side).bias + bias)
        for side in ("visible", "hidden")
        if hasattr(getattr(model, side), "values")
    }
    assert proof.excess(adapters.log_partition(method=method), replace(model, **sides)) <= 1


@discrete_pairs
def test_many_hidden_units(visible, hidden):
    """The product of 784 factors is rescaled where its bound says so, not by a count."""
    for scale, bias in ((0.05, 0.0), (0.5, 5.0), (3.0, -30.0), (0.2, 30.0)):
        model = adapters.random_model(visible, hidden, 784, 7, seed=1, scale=scale)
        model = replace(model, visible=replace(model.visible, bias=model.visible.bias + bias))
        assert proof.excess(adapters.log_partition(), model, side="hidden") <= 1
        function = adapters.log_partition(stored_as="float32")
        assert proof.excess(function, adapters.stored(model.swapped(), "float32")) <= 1


@pytest.mark.parametrize("n_dead", [0, 5, 300])
def test_dead_units(n_dead):
    """Units that hardly move, as the black pixels of digits, beside units that do."""
    model = adapters.random_model("bernoulli", "bernoulli", 320, 8, seed=1, scale=0.5)
    bias, weights = model.visible.bias.copy(), model.weights.copy()
    bias[:n_dead], weights[:n_dead] = -40.0, 1e-9 * weights[:n_dead]
    model = replace(model, visible=replace(model.visible, bias=bias), weights=weights)
    assert proof.excess(adapters.log_partition(), model, side="hidden") <= 1


# --------------------------------------------------------------------------------- symmetries


@by_method
@dtypes
def test_permutations(visible, hidden, method, dtype):
    rng = np.random.default_rng(5)
    model = adapters.random_model(visible, hidden, 9, 8, seed=5, scale=0.5)
    function = adapters.log_partition(method=method, dtype=dtype)
    before = function(model)
    for _ in range(3):
        after = function(proof.permuted(model, rng)[0])
        assert abs(after.value - before.value) <= after.error + before.error


@by_method
@dtypes
def test_gauge_flips(visible, hidden, method, dtype):
    """Spins and Gaussian units turned around with their weights and biases."""
    rng = np.random.default_rng(5)
    model = adapters.random_model(visible, hidden, 9, 8, seed=5, scale=0.5)
    function = adapters.log_partition(method=method, dtype=dtype)
    before = function(model)
    for _ in range(3):
        after = function(proof.flipped(model, rng)[0])
        assert abs(after.value - before.value) <= after.error + before.error


@pytest.mark.parametrize("hidden", models.UNITS)
def test_gauge_of_bernoulli_units(hidden):
    """v -> 1 - v of some units: the hidden biases and a constant take it up."""
    rng = np.random.default_rng(5)
    model = adapters.random_model("bernoulli", hidden, 9, 8, seed=5, scale=0.5)
    model = replace(model, weights=np.round(model.weights * 256) / 256)
    biases = {
        side: replace(getattr(model, side), bias=np.round(getattr(model, side).bias * 256) / 256)
        for side in ("visible", "hidden")
    }  # parameters with few digits: the exchange is exact
    model = replace(model, **biases)
    before = log_partition(adapters.to_rbm(model))
    turned, shift = proof.exchanged(model, rng)
    after = log_partition(adapters.to_rbm(turned))
    assert abs(after.value + shift - before.value) <= after.error + before.error + 1e-15 * abs(
        shift
    )


@by_method
def test_sides_exchanged(visible, hidden, method):
    model = adapters.random_model(visible, hidden, 9, 7, seed=5, scale=0.5)
    function = adapters.log_partition(method=method)
    before, after = function(model), function(model.swapped())
    assert abs(after.value - before.value) <= after.error + before.error


@discrete_pairs
@pytest.mark.parametrize("method", ["auto", "split", "elimination"])
def test_beta_zero_counts_states(visible, hidden, method):
    model = adapters.random_model(visible, hidden, 9, 8, scale=0.5)
    z = log_partition(adapters.to_rbm(model), method=method, beta=0.0)
    assert abs(z.value - 17 * np.log(2)) <= max(z.error, 1e-15)


@gaussian_pairs
@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, np.inf])
def test_beta_of_gaussians_is_positive(visible, hidden, beta):
    model = adapters.random_model(visible, hidden, 4, 3)
    with pytest.raises(ValueError, match="beta"):
        log_partition(adapters.to_rbm(model), beta=beta)


# ------------------------------------------------------------------------------- what is returned


@by_method
def test_result(visible, hidden, method):
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, 7, 6))
    before = rbm.copy()
    z = log_partition(rbm, method=method)
    assert float(z) == z.value
    assert type(z.value) is float
    if method != "auto":
        assert z.method == method
    assert z.method in repr(z)
    assert isinstance(z.reason, str)
    assert z.reason
    assert z.n_states >= 1
    assert 0 < z.error < 1e-10
    assert 0 < z.seconds < 60
    assert rbm == before


@discrete_pairs
def test_the_smaller_layer_is_enumerated(visible, hidden):
    for shape in ((40, 7), (7, 40)):
        z = log_partition(adapters.to_rbm(adapters.random_model(visible, hidden, *shape)))
        assert z.method == "split"
        assert z.n_states == 2**7


@pytest.mark.parametrize("method", ["naive", "", None, 3])
def test_unknown_methods(method):
    rbm = fastrbm.RBM(fastrbm.Spin(3), fastrbm.Spin(2))
    with pytest.raises((ValueError, TypeError), match="method"):
        log_partition(rbm, method=method)


@pytest.mark.parametrize(
    ("layers", "method"),
    [
        ((fastrbm.Spin(3), fastrbm.Spin(2)), "pairwise"),
        ((fastrbm.Spin(3), fastrbm.Spin(2)), "quadrature"),
        ((fastrbm.Spin(3), fastrbm.Gaussian(4)), "quadrature"),
        ((fastrbm.Gaussian(3), fastrbm.Gaussian(2)), "split"),
        ((fastrbm.Spin(3), fastrbm.Spin(2)), "gaussian"),
    ],
)
def test_methods_that_do_not_apply(layers, method):
    """Refused by name, with a sentence."""
    rbm = fastrbm.RBM(*layers, rng=1)
    with pytest.raises(ValueError, match=method):
        log_partition(rbm, method=method)


def test_parameters_changed_in_place_are_seen():
    rbm = adapters.to_rbm(adapters.random_model("bernoulli", "spin", 6, 5))
    first = log_partition(rbm).value
    rbm.weights[0, 0] += 1.0
    rbm.hidden.bias[2] -= 0.5
    oracle = Enumeration(adapters.to_oracle(rbm))
    z = log_partition(rbm)
    assert z.value != first
    assert oracle.error_of(z.value) <= z.error


def test_an_rbm_is_asked_for():
    with pytest.raises(TypeError, match="rbm"):
        log_partition(np.ones((3, 3)))
