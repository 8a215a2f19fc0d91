"""log_partition of models beyond enumeration, against closed forms and against other methods."""

import math
from dataclasses import replace

import adapters
import mpmath
import numpy as np
import pytest
from reference import closed_forms, models, proof
from reference.enumeration import DIGITS, Enumeration, unit_in_mpmath
from reference.exact import Model
from reference.layers import bernoulli, gaussian, spin

import fastrbm
from fastrbm import log_partition

UNBOUNDED = r"normalis|positive definite"
UNITS = {"bernoulli": bernoulli, "spin": spin, "gaussian": gaussian}
two_state = pytest.mark.parametrize("visible", ["bernoulli", "spin"])
DISCRETE_PAIRS = [pair for pair in models.MIXED_PAIRS if "gaussian" not in pair]


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(DIGITS):
        yield


def inside(z, log_z, size):
    """|error| <= 1e-13 max(1, size) and <= z.error; log_z an mpf, size at most max |F|."""
    error = abs(mpmath.mpf(z.value) - log_z)
    assert error <= z.error, f"{z}: the error is {float(error):.3g}"
    assert error <= proof.RULE * max(1.0, size), f"{z}: the error is {float(error):.3g}"
    assert z.error <= 1e-9 * max(1.0, size), "the bound says too little"
    return True


def least_size(model, beta=1.0):
    """A bound from below on max |F|: F of the two states with all visible units alike."""
    extremes = np.array([[value] * model.visible.n for value in model.visible.values])
    return np.abs(model.free_energy(extremes, beta)).max()


# ----------------------------------------------------------------------- counts and Curie-Weiss


@two_state
@pytest.mark.parametrize("beta", [0.5, 1.0, 1.3])
@pytest.mark.parametrize("method", ["auto", "counts", "quadrature"])
@pytest.mark.parametrize("bias", [0.0, 0.01])
def test_curie_weiss(visible, beta, method, bias):
    """N = 2000 in one Gaussian unit: 2001 terms with binomials; at and beyond the transition."""
    n = 2000
    model = Model(
        UNITS[visible](np.full(n, bias)),
        gaussian(np.array([0.3]), np.array([1.0])),
        np.full((n, 1), math.sqrt(beta / n)),
    )
    log_z = closed_forms.by_many_counts(model)
    z = log_partition(adapters.to_rbm(model), method=method)
    if method != "auto":
        assert z.method == method
    inside(z, log_z, least_size(model))


@two_state
@pytest.mark.parametrize("hidden", models.UNITS)
@pytest.mark.parametrize("swap", [False, True])
def test_block_constant_weights(visible, hidden, swap):
    """Groups of 14, 9 and 7 units with equal rows against 15 units of another layer."""
    rng = np.random.default_rng(2)
    group = np.repeat([0, 1, 2], [14, 9, 7])
    other = adapters.random_model(visible, hidden, 3, 15, seed=2)
    layer = replace(other.visible, bias=rng.standard_normal(3)[group])
    model = replace(other, visible=layer, weights=other.weights[group])
    log_z = closed_forms.by_many_counts(model, 0.9)
    z = log_partition(adapters.to_rbm(model.swapped() if swap else model), beta=0.9)
    inside(z, log_z, least_size(model, 0.9))


@two_state
@pytest.mark.parametrize("hidden", models.UNITS)
def test_equal_rows_with_different_biases(visible, hidden):
    """Counting needs equal weights alone, and takes spins with turned signs as equal."""
    model = adapters.random_model(visible, hidden, 12, 40 if hidden != "gaussian" else 6, seed=3)
    group = np.arange(12) % 2
    signs = np.where(np.arange(12) % 3, 1.0, -1.0) if visible == "spin" else np.ones(12)
    model = replace(model, weights=signs[:, None] * model.weights[group])
    for scale in proof.SCALES:
        chosen = proof.scaled(model, scale)
        for method in ("auto", "counts"):
            function = adapters.log_partition(method=method)
            assert proof.excess(function, chosen, side="visible") <= 1, (scale, method)


@pytest.mark.parametrize(("visible", "hidden"), DISCRETE_PAIRS)
def test_duplicate_columns(visible, hidden):
    """Twelve visible units, and 30 hidden ones that are copies of three."""
    model = adapters.random_model(visible, hidden, 12, 3, seed=4)
    copies = np.arange(30) % 3
    layer = replace(model.hidden, bias=model.hidden.bias[copies])
    model = replace(model, hidden=layer, weights=model.weights[:, copies])
    assert proof.excess(adapters.log_partition(), model, side="visible") <= 1
    # 40 visible units that are copies too: only counts can do it.
    rows = np.arange(40) % 2
    model = replace(
        model,
        visible=replace(model.visible, bias=model.visible.bias[rows]),
        weights=model.weights[rows],
    )
    log_z = closed_forms.by_many_counts(model)
    z = log_partition(adapters.to_rbm(model))
    inside(z, log_z, least_size(model))


# ---------------------------------------------------------------------------------- structure


@pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
@pytest.mark.parametrize("shape", [(1, 1), (300, 200), (1000, 1)])
def test_no_couplings(visible, hidden, shape):
    """log Z is a sum of one-unit terms, for any number of units."""
    model = adapters.random_model(visible, hidden, *shape)
    model = replace(model, weights=np.zeros(shape))
    z = log_partition(adapters.to_rbm(model), beta=0.8)
    terms = [
        mpmath.log(unit_in_mpmath(layer, i, mpmath.mpf(0), mpmath.mpf(0.8))[0])
        for layer in (model.visible, model.hidden)
        for i in range(layer.n)
    ]
    inside(z, mpmath.fsum(terms), sum(shape))


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
@pytest.mark.parametrize("beta", [1.0, 0.7])
def test_disconnected_blocks(visible, hidden, beta):
    """Ten models of 6 + 5 units side by side, shuffled, with units that nothing couples to."""
    rng = np.random.default_rng(6)
    parts = [adapters.random_model(visible, hidden, 6, 5, seed=s, scale=0.6) for s in range(10)]
    lone = adapters.random_model(visible, hidden, 4, 3, seed=11)
    parts.append(replace(lone, weights=np.zeros((4, 3))))
    weights = np.zeros((64, 53))
    for i, part in enumerate(parts[:-1]):
        weights[6 * i : 6 * i + 6, 5 * i : 5 * i + 5] = part.weights
    sides = []
    for side in ("visible", "hidden"):
        layers = [getattr(part, side) for part in parts]
        arrays = {"bias": np.concatenate([layer.bias for layer in layers])}
        if hasattr(layers[0], "precision"):
            arrays["precision"] = np.concatenate([layer.precision for layer in layers])
        sides.append(replace(layers[0], **arrays))
    model, _, _ = proof.permuted(Model(*sides, weights), rng)
    answers = [Enumeration(part, beta) for part in parts]
    log_z = mpmath.fsum(a.numbers.to_mpmath(a.log_z) for a in answers)
    z = log_partition(adapters.to_rbm(model), beta=beta)
    inside(z, log_z, max(a.largest for a in answers) * len(parts))


@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 13)])
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_two_gaussian_layers(shape, beta, dtype):
    model = adapters.random_model("gaussian", "gaussian", *shape)
    model = adapters.stored(model, dtype)
    z = log_partition(adapters.to_rbm(model, dtype), beta=beta)
    assert z.method == "gaussian"
    log_z = closed_forms.two_gaussian_layers(model, beta)
    inside(z, log_z, sum(shape))


def test_two_gaussian_layers_near_singular():
    """A joint precision with an eigenvalue of 1e-9: the bound grows as the condition number."""
    w = 1.0 - 1e-9
    model = Model(gaussian([0.5]), gaussian([0.25]), np.array([[w]]))
    z = log_partition(adapters.to_rbm(model))
    error = abs(mpmath.mpf(z.value) - closed_forms.two_gaussian_layers(model))
    assert error <= z.error


@pytest.mark.parametrize("weight", [1.0, 1.5, -3.0])
def test_models_that_cannot_be_normalised(weight):
    """Never a finite log Z of a model that has none: refused, and named."""
    rbm = fastrbm.RBM(fastrbm.Gaussian(2), fastrbm.Gaussian(2), weights=0.3 * np.eye(2))
    rbm.weights[0, 0] = weight
    with pytest.raises(ValueError, match=UNBOUNDED):
        log_partition(rbm)
    with pytest.raises(ValueError, match=UNBOUNDED):
        log_partition(rbm, method="gaussian")


def test_parameters_that_are_not_finite():
    rbm = fastrbm.RBM(fastrbm.Spin(3), fastrbm.Spin(2), rng=1)
    rbm.weights[1, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        log_partition(rbm)


# ------------------------------------------------------------------------------- elimination


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 7), (8, 8)])
@pytest.mark.parametrize("coupling", [0.2, 0.4406, 0.7])
def test_ising_torus(n, m, coupling):
    """The torus with one hidden unit a bond, by elimination, against Kaufman's formula."""
    model, log_z = closed_forms.torus(n, m, coupling)
    z = log_partition(adapters.to_rbm(model), method="elimination")
    inside(z, log_z, float(log_z))
    if n * m == 64:
        auto = log_partition(adapters.to_rbm(model))
        assert auto.method == "elimination"
        assert auto.value == z.value


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_chain(visible, hidden):
    """Each hidden unit couples to two neighbours: elimination in both layers' order is linear."""
    n = 12
    model = adapters.random_model(visible, hidden, n, n - 1, scale=0.9)
    band = np.abs(np.arange(n)[:, None] - np.arange(n - 1) - 0.5) < 1
    model = replace(model, weights=np.where(band, model.weights, 0.0))
    for method in ("auto", "elimination"):
        assert proof.excess(adapters.log_partition(method=method), model) <= 1


def test_long_chain_by_transfer_matrix():
    """1,000 spins in a ring, a hidden spin a bond: the trace of a power of a 2 x 2 matrix."""
    n, w = 1000, 0.75
    weights = np.zeros((n, n))
    weights[np.arange(n), np.arange(n)] = weights[(np.arange(n) + 1) % n, np.arange(n)] = w
    model = Model(spin(np.zeros(n)), spin(np.zeros(n)), weights)
    w = mpmath.mpf(w)
    same, different = 2 * mpmath.cosh(2 * w), mpmath.mpf(2)
    log_z = mpmath.log((same + different) ** n + (same - different) ** n)
    z = log_partition(adapters.to_rbm(model))
    inside(z, log_z, float(log_z))


# -------------------------------------------------------------------------------- quadrature


@two_state
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 3.0, 30.0, 1000.0])
@pytest.mark.parametrize("swap", [False, True])
def test_quadrature_against_enumeration(visible, p, scale, swap):
    """Few Gaussian units: a sum over a grid, with its discretisation and cut in the bound."""
    model = proof.scaled(
        adapters.random_model(visible, "gaussian", 12, p, seed=7, scale=0.4), scale
    )
    model = model.swapped() if swap else model
    for beta in (1.0, 0.6):
        function = adapters.log_partition(method="quadrature")
        assert proof.excess(function, model, beta) <= 1


@two_state
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_quadrature_against_pairwise(visible, p, scale):
    """24 discrete units, beyond the oracle: two methods that have nothing in common."""
    model = adapters.random_model(visible, "gaussian", 24, p, seed=8, scale=0.3)
    rbm = adapters.to_rbm(proof.scaled(model, scale))
    one, other = (log_partition(rbm, method=m, beta=0.9) for m in ("quadrature", "pairwise"))
    assert (one.method, other.method) == ("quadrature", "pairwise")
    assert abs(one.value - other.value) <= one.error + other.error
    assert one.error <= 1e-9


@two_state
@pytest.mark.parametrize(("p", "n"), [(1, 5_000), (2, 1_000), (3, 200)])
@pytest.mark.parametrize("strength", [0.75, 2.0])
def test_quadrature_of_many_units(visible, p, n, strength):
    """Two groups of equal rows, on either side of the transition, against a sum over counts."""
    rng = np.random.default_rng(9)
    n_groups = 1 if p == 1 else 2
    group = np.arange(n) * n_groups // n
    signs = np.where(rng.random((n_groups, p)) < 0.5, -1.0, 1.0)
    model = Model(
        UNITS[visible](np.full(n, 0.05)),
        gaussian(0.1 * rng.standard_normal(p), rng.uniform(0.8, 1.2, p)),
        (np.sqrt(strength / n) * signs)[group],
    )
    z = log_partition(adapters.to_rbm(model), method="quadrature")
    log_z = closed_forms.by_many_counts(model)
    inside(z, log_z, least_size(model))


@two_state
def test_a_hundred_thousand_units(visible):
    """Beyond the oracle: two methods that share nothing but the answer."""
    n = 100_000
    rng = np.random.default_rng(3)
    rbm = fastrbm.RBM(
        {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin}[visible](n, bias=0.01),
        fastrbm.Gaussian(1, bias=0.2),
        weights=np.full((n, 1), math.sqrt(1.2 / n)),
    )
    one, other = (log_partition(rbm, method=method) for method in ("quadrature", "counts"))
    assert abs(one.value - other.value) <= one.error + other.error
    assert one.error < 1e-13 * n
    rbm.weights[:, 0] += 1e-3 * rng.standard_normal(n)
    assert np.isfinite(log_partition(rbm).value)
