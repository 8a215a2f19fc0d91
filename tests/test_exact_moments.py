"""exact_moments against enumeration and against derivatives of log Z; log-likelihood and KL.

`reference.proof.moments_excess` is the rule: what 1e-13 max(1, max |F|) in each state's log-weight
leaves each mean, and no more.
"""

import math
from dataclasses import replace

import adapters
import mpmath
import numpy as np
import pytest
from reference import models, proof
from reference.enumeration import DIGITS, FIELDS, Enumeration, enumerate_in_mpmath
from reference.exact import Model, all_states, joint_gaussian

import fastrbm
from fastrbm import _lib, exact_moments, log_partition

pairs = pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
scales = pytest.mark.parametrize("scale", proof.SCALES)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)
DISCRETE_PAIRS = [pair for pair in models.MIXED_PAIRS if "gaussian" not in pair]
GAUSSIAN_PAIRS = [pair for pair in models.MIXED_PAIRS if "gaussian" in pair]
GIVEN = [name for name in FIELDS if name != "hidden_products"]


# -------------------------------------------------------------------------- against enumeration


def methods(visible, hidden):
    """The methods that can take any small model of a pair, by name."""
    return ("pairwise", "split", "elimination") if "gaussian" in (visible, hidden) else (
        "split", "elimination",
    )  # fmt: skip


@scales
@dtypes
@pytest.mark.parametrize("shape", [(5, 4), (4, 6), (11, 9)])
@pairs
def test_enumeration(visible, hidden, shape, dtype, scale):
    """Every pair, method, type and size of the weights."""
    model = adapters.random_model(visible, hidden, *shape, seed=4, scale=0.4)
    model = adapters.stored(proof.scaled(model, scale), dtype)
    for method in methods(visible, hidden):
        function = adapters.moments(dtype, method=method)
        assert proof.moments_excess(function, model, 0.8, GIVEN) <= 1, method


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("swap", [False, True])
def test_quadrature(unit, p, swap):
    model = adapters.random_model(unit, "gaussian", 9, p, seed=4, scale=0.4)
    for scale in (1e-3, 1.0, 5.0):
        chosen = proof.scaled(model.swapped() if swap else model, scale)
        function = adapters.moments(method="quadrature")
        assert proof.moments_excess(function, chosen, 0.8, GIVEN) <= 1, scale


@pairs
def test_counts(visible, hidden):
    """Units of equal weights and biases on the enumerated side."""
    model = adapters.random_model(visible, hidden, 9, 7, seed=4, scale=0.4)
    if visible == "gaussian":
        model = model.swapped()
    group = np.arange(9) // 5 if visible != "gaussian" else np.arange(7) // 4
    layer = replace(model.visible, bias=model.visible.bias[group])
    model = replace(model, visible=layer, weights=model.weights[group])
    model = model.swapped() if visible == "gaussian" else model
    for method in ("auto", "counts"):
        function = adapters.moments(method=method)
        assert proof.moments_excess(function, model, 0.8, GIVEN) <= 1, method


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 5), (3, 30), (30, 3), (17, 2)])
@pairs
def test_sizes(visible, hidden, shape):
    if "gaussian" in (visible, hidden):
        shape = tuple(min(n, 9) for n in shape)
    model = adapters.random_model(visible, hidden, *shape, scale=0.8)
    assert proof.moments_excess(adapters.moments(), model, 1.0, GIVEN) <= 1


@pytest.mark.parametrize("beta", [0.01, 3.0, 50.0])
@pairs
def test_beta(visible, hidden, beta):
    model = adapters.random_model(visible, hidden, 6, 5, scale=0.5)
    assert proof.moments_excess(adapters.moments(), model, beta, GIVEN) <= 1


@pytest.mark.parametrize("level", _lib.simd_levels())
@pairs
def test_simd_levels(visible, hidden, level):
    for shape in ((11, 9), (7, 33 if "gaussian" not in (visible, hidden) else 9)):
        model = adapters.random_model(visible, hidden, *shape, seed=6, scale=1.0)
        with _lib.use_simd(level):
            assert proof.moments_excess(adapters.moments(), model, 1.0, GIVEN) <= 1


@pairs
def test_threads_leave_the_bits(visible, hidden):
    n_visible, n_hidden = {"gaussian": (5, 17)}.get(visible, (17, 5))
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden, seed=6))
    runs = [
        exact_moments(rbm, visible_products=True, heat_capacity=True, n_threads=n_threads)
        for n_threads in (1, 2, 3, 7)
    ]
    for run in runs[1:]:
        for name in ("visible", "hidden", "products", "visible_products"):
            np.testing.assert_array_equal(getattr(run, name), getattr(runs[0], name))
        for name in ("log_partition", "energy", "entropy", "heat_capacity"):
            assert getattr(run, name) == getattr(runs[0], name)


@pytest.mark.parametrize("factor", [5.0, 20.0, 30.0])
def test_frustrated_models(factor):
    """Where weights of states leave the range of float64 beside each other."""
    for seed in range(5):
        weights = 0.5 * factor * np.random.default_rng(seed).standard_normal((12, 12))
        model = adapters.random_model("spin", "gaussian", 12, 12)
        for chosen in (
            replace(model, weights=weights),
            Model(
                replace(model.visible, bias=np.zeros(12)),
                replace(model.hidden, bias=np.zeros(12)),
                weights,
            ),
        ):
            assert proof.moments_excess(adapters.moments(), chosen, 1.0, GIVEN) <= 1, seed


@pytest.mark.parametrize(("visible", "hidden"), GAUSSIAN_PAIRS)
def test_field_cancelled_and_field_of_gaussian_biases(visible, hidden):
    model = adapters.random_model(visible, hidden, 9, 8, scale=0.4)
    for chosen in (proof.with_cancelled_field(model), proof.without_discrete_bias(model)):
        assert proof.moments_excess(adapters.moments(), chosen, 1.0, GIVEN) <= 1


@pytest.mark.parametrize("exponent", range(-14, 0))
@pytest.mark.parametrize("scale", [0.2, 2.0])
def test_small_fields_are_not_dropped(exponent, scale):
    """A field moves log Z by its square, but the means of spins by itself."""
    model = adapters.random_model("spin", "gaussian", 8, 6, seed=2, scale=scale)
    model = proof.with_cancelled_field(model)
    bias = model.visible.bias + 10.0**exponent * np.sign(model.weights[:, 0])
    model = replace(model, visible=replace(model.visible, bias=bias))
    assert proof.moments_excess(adapters.moments(method="pairwise"), model, 1.0, GIVEN) <= 1


@pytest.mark.parametrize(("visible", "hidden"), DISCRETE_PAIRS)
def test_beta_zero(visible, hidden):
    """Every state alike: means of the units alone."""
    model = adapters.random_model(visible, hidden, 6, 5)
    m = exact_moments(adapters.to_rbm(model), beta=0.0, visible_products=True, heat_capacity=True)
    mean = {"bernoulli": 0.5, "spin": 0.0}
    np.testing.assert_allclose(m.visible, mean[visible], atol=1e-15)
    np.testing.assert_allclose(m.hidden, mean[hidden], atol=1e-15)
    np.testing.assert_allclose(m.products, mean[visible] * mean[hidden], atol=1e-15)
    assert m.log_partition == pytest.approx(11 * math.log(2), abs=1e-13)
    assert m.entropy == pytest.approx(11 * math.log(2), abs=1e-13)
    assert m.heat_capacity == 0.0
    assert m.energy == pytest.approx(Enumeration(model, 0.0).moments.energy, abs=1e-13)


# ------------------------------------------------------------------------ derivatives of log Z


def moved(array, index, step):
    array = np.array(array)
    array[index] += step
    return array


def short(model):
    """Parameters with 2^-10 as the last place: parameter + 2^-20 is exact."""
    sides = {
        side: replace(getattr(model, side), bias=np.round(getattr(model, side).bias * 1024) / 1024)
        for side in ("visible", "hidden")
    }
    return replace(model, weights=np.round(model.weights * 1024) / 1024, **sides)


@pairs
def test_moments_are_derivatives_of_the_definition(visible, hidden):
    """Finite differences of log Z at 50 digits, of the stored parameters."""
    model = short(adapters.random_model(visible, hidden, 3, 2, scale=0.8))
    m = exact_moments(adapters.to_rbm(model))
    step = 2.0**-20

    def slope(log_z):
        with mpmath.workdps(DIGITS):
            first = 8 * (log_z(1) - log_z(-1)) - (log_z(2) - log_z(-2))
            return float(first / (12 * step))

    for index in np.ndindex(3, 2):

        def by_weight(k, index=index):
            return enumerate_in_mpmath(
                replace(model, weights=moved(model.weights, index, k * step))
            ).log_z

        assert m.products[index] == pytest.approx(slope(by_weight), abs=1e-13)
    for side in ("visible", "hidden"):
        layer = getattr(model, side)
        for i in range(layer.n):

            def by_bias(k, side=side, layer=layer, i=i):
                changed = replace(layer, bias=moved(layer.bias, i, k * step))
                return enumerate_in_mpmath(replace(model, **{side: changed})).log_z

            assert getattr(m, side)[i] == pytest.approx(slope(by_bias), abs=1e-13)

    def by_beta(k):
        return enumerate_in_mpmath(model, 1.0 + k * step).log_z

    assert m.energy == pytest.approx(-slope(by_beta), abs=1e-12)


@pairs
def test_moments_are_derivatives_of_the_package(visible, hidden):
    """d log Z / d beta = -<E> and d^2 / d beta^2 = Var E, of log_partition itself."""
    model = adapters.random_model(visible, hidden, 8, 7, scale=0.4)
    rbm, beta, step = adapters.to_rbm(model), 0.8, 1e-3
    m = exact_moments(rbm, beta=beta, heat_capacity=True)
    z = {k: log_partition(rbm, beta=beta + k * step).value for k in (-2, -1, 0, 1, 2)}
    first = (8 * (z[1] - z[-1]) - (z[2] - z[-2])) / (12 * step)
    second = (16 * (z[1] + z[-1]) - (z[2] + z[-2]) - 30 * z[0]) / (12 * step**2)
    assert m.energy == pytest.approx(-first, rel=1e-9, abs=1e-9)
    assert m.heat_capacity == pytest.approx(beta**2 * second, rel=1e-6, abs=1e-6)
    assert m.log_partition == pytest.approx(z[0], abs=1e-12)


@pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
def test_identities(visible, hidden):
    """Entropy, symmetry, unit products; and what the model's own layers say given each other."""
    model = adapters.random_model(visible, hidden, 7, 6, scale=0.5)
    rbm = adapters.to_rbm(model)
    m = exact_moments(rbm, beta=0.7, visible_products=True, heat_capacity=True)
    assert m.entropy == pytest.approx(m.log_partition + 0.7 * m.energy, abs=1e-12)
    np.testing.assert_array_equal(m.visible_products, m.visible_products.T)
    if visible == "spin":
        np.testing.assert_allclose(np.diag(m.visible_products), 1, atol=1e-14)
    if visible == "bernoulli":
        np.testing.assert_allclose(np.diag(m.visible_products), m.visible, atol=1e-14)
    if hidden == "gaussian":  # linear given v: <h> and <v h> follow from <v> and <v v>
        slope = model.weights / model.hidden.precision
        offset = model.hidden.bias / model.hidden.precision
        np.testing.assert_allclose(m.hidden, offset + m.visible @ slope, atol=1e-12)
        products = np.outer(m.visible, offset) + m.visible_products @ slope
        np.testing.assert_allclose(m.products, products, atol=1e-12)
    assert m.heat_capacity > 0


def test_two_gaussian_layers():
    model = adapters.random_model("gaussian", "gaussian", 5, 4)
    mean, covariance = joint_gaussian(model, 0.7)
    m = exact_moments(adapters.to_rbm(model), beta=0.7, visible_products=True, heat_capacity=True)
    np.testing.assert_allclose(m.visible, mean[:5], atol=1e-12)
    np.testing.assert_allclose(m.hidden, mean[5:], atol=1e-12)
    np.testing.assert_allclose(m.products, (covariance + np.outer(mean, mean))[:5, 5:], atol=1e-12)
    second = (covariance + np.outer(mean, mean))[:5, :5]
    np.testing.assert_allclose(m.visible_products, second, atol=1e-12)
    # E = E(mean) + a quadratic form of 9 Gaussian numbers: half a nat each.
    ground = float(model.energy(mean[:5], mean[5:]))
    assert m.energy == pytest.approx(ground + 4.5 / 0.7, abs=1e-11)
    assert m.heat_capacity == pytest.approx(4.5, abs=1e-11)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    assert m.entropy == pytest.approx(entropy, abs=1e-11)


@pairs
def test_disconnected_and_uncoupled_units(visible, hidden):
    """Two blocks and units that nothing couples to: products across are products of means."""
    rng = np.random.default_rng(4)
    model = adapters.random_model(visible, hidden, 9, 8, scale=0.6)
    weights = np.zeros((9, 8))
    weights[:4, :3], weights[4:8, 3:7] = model.weights[:4, :3], model.weights[4:8, 3:7]
    model, _, _ = proof.permuted(replace(model, weights=weights), rng)
    assert proof.moments_excess(adapters.moments(), model, 0.9, GIVEN) <= 1


@pairs
def test_permutations_and_gauges(visible, hidden):
    rng = np.random.default_rng(5)
    model = adapters.random_model(visible, hidden, 8, 7, scale=0.5)
    before = adapters.moments()(model)
    turned, v_signs, h_signs = proof.flipped(model, rng)
    after = adapters.moments()(turned)
    np.testing.assert_allclose(after.visible, v_signs * before.visible, atol=1e-12)
    np.testing.assert_allclose(after.hidden, h_signs * before.hidden, atol=1e-12)
    expected = v_signs[:, None] * before.products * h_signs
    np.testing.assert_allclose(after.products, expected, atol=1e-12)
    expected = v_signs[:, None] * before.visible_products * v_signs
    np.testing.assert_allclose(after.visible_products, expected, atol=1e-12)
    assert after.energy == pytest.approx(before.energy, abs=1e-12)
    moved_model, rows, columns = proof.permuted(model, rng)
    after = adapters.moments()(moved_model)
    np.testing.assert_allclose(after.products, before.products[rows][:, columns], atol=1e-12)
    np.testing.assert_allclose(after.hidden, before.hidden[columns], atol=1e-12)
    expected = before.visible_products[rows][:, rows]
    np.testing.assert_allclose(after.visible_products, expected, atol=1e-12)


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_few_gaussian_units(unit, p):
    """20 discrete units: whatever method is cheapest, against derivatives of log_partition."""
    model = adapters.random_model(unit, "gaussian", 20, p, scale=0.3)
    rbm = adapters.to_rbm(model)
    m = exact_moments(rbm, visible_products=True)
    step = 1e-3
    for i, mu in ((0, 0), (7, p - 1), (19, 0)):
        z = {}
        for k in (-2, -1, 1, 2):
            changed = rbm.copy()
            changed.weights[i, mu] += k * step
            z[k] = log_partition(changed).value
        slope = (8 * (z[1] - z[-1]) - (z[2] - z[-2])) / (12 * step)
        assert m.products[i, mu] == pytest.approx(slope, abs=1e-9)


# ------------------------------------------------------------------------------ what is returned


@pairs
def test_result(visible, hidden):
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, 7, 6))
    before = rbm.copy()
    m = exact_moments(rbm)
    assert rbm == before
    assert m.visible.shape == (7,)
    assert m.hidden.shape == (6,)
    assert m.products.shape == (7, 6)
    for array in (m.visible, m.hidden, m.products):
        assert array.dtype == np.float64
    z = log_partition(rbm)
    assert float(m.log_partition) == pytest.approx(z.value, abs=z.error + 1e-12)
    assert isinstance(m.method, str)
    assert 0 <= m.error < 1e-9
    assert m.method in repr(m)
    if m.method == "pairwise" and visible != "gaussian":
        assert m.visible_products is not None
    assert exact_moments(rbm, visible_products=True).visible_products.shape == (7, 7)
    assert exact_moments(rbm, visible_products=False).visible_products is None


@pytest.mark.parametrize(("visible", "hidden"), DISCRETE_PAIRS)
def test_products_of_visible_units_are_given_where_asked(visible, hidden):
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, 7, 6))
    assert exact_moments(rbm).visible_products is None
    assert exact_moments(rbm).heat_capacity is None


# ------------------------------------------------------------------------- likelihood and KL


@pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
def test_log_likelihood(visible, hidden):
    """-F(v) - log Z, nats per row; a number, a result or nothing for log_z."""
    model = adapters.random_model(visible, hidden, 6, 5, scale=0.5)
    rbm = adapters.to_rbm(model)
    data = adapters.random_states(visible, 40, 6)
    z = log_partition(rbm)
    answer = (-model.free_energy(data)).mean() - z.value
    assert fastrbm.log_likelihood(rbm, data) == pytest.approx(answer, abs=1e-12)
    assert fastrbm.log_likelihood(rbm, data, log_z=z) == pytest.approx(answer, abs=1e-12)
    assert fastrbm.log_likelihood(rbm, data, log_z=z.value + 1) == pytest.approx(answer - 1)


@pytest.mark.parametrize(
    ("visible", "hidden"), [pair for pair in models.PAIRS if pair[0] != "gaussian"]
)
def test_probabilities_sum_to_one(visible, hidden):
    """exp of the log-likelihood of every state, each alone; and KL of the whole law is its cost."""
    model = adapters.random_model(visible, hidden, 5, 4, scale=0.6)
    rbm = adapters.to_rbm(model)
    values = model.visible.values
    states = all_states(values, 5)
    z = log_partition(rbm)
    logs = np.array([fastrbm.log_likelihood(rbm, v[None], log_z=z) for v in states])
    assert np.exp(logs).sum() == pytest.approx(1.0, abs=1e-12)
    # Every state once: KL(uniform || model) = -n log 2 - mean log p.
    kl = fastrbm.kl_divergence(rbm, states)
    assert kl == pytest.approx(-5 * math.log(2) - logs.mean(), abs=1e-12)
    # Repeated rows are counted.
    counts = np.arange(1, 33)
    p = counts / counts.sum()
    kl = fastrbm.kl_divergence(rbm, np.repeat(states, counts, axis=0), log_z=z)
    assert kl == pytest.approx((p * (np.log(p) - logs)).sum(), abs=1e-12)


def test_kl_of_the_models_own_law_is_zero():
    """A model without couplings and biases is uniform: KL = 0, and never below."""
    rbm = fastrbm.RBM(fastrbm.Spin(4), fastrbm.Bernoulli(3), weights=np.zeros((4, 3)))
    assert fastrbm.kl_divergence(rbm, all_states((-1, 1), 4)) == pytest.approx(0.0, abs=1e-13)


def test_kl_of_continuous_data_is_refused():
    rbm = fastrbm.RBM(fastrbm.Gaussian(3), fastrbm.Spin(2), rng=1)
    with pytest.raises(ValueError, match="discrete"):
        fastrbm.kl_divergence(rbm, np.zeros((4, 3)))
