"""The oracles of the exact methods against one another, before anything is compared with them."""

from dataclasses import replace

import adapters
import mpmath
import numpy as np
import pytest
from reference import closed_forms, enumeration, exact, models, wide
from reference.enumeration import DIGITS, Enumeration, enumerate_in_mpmath

NUMBERS = [n for n in (wide.EXTENDED, wide.PAIRS) if n is not None]
numbers = pytest.mark.parametrize("numbers", NUMBERS, ids=lambda n: n.name)
pairs = pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(DIGITS):
        yield


@numbers
def test_wide_arithmetic(numbers):
    """+ - * / exp log of random numbers of all sizes, against mpmath."""
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(300) * 10.0 ** rng.integers(-6, 6, 300) for _ in range(2))
    third = [1 / mpmath.mpf(float(x)) for x in a]  # numbers with digits beyond float64
    wide_third = 1.0 / numbers.array(a)
    functions = [
        (lambda x, y: x + y, lambda x, y: x + y),
        (lambda x, y: x - y, lambda x, y: x - y),
        (lambda x, y: x * y, lambda x, y: x * y),
        (lambda x, y: x / y, lambda x, y: x / y),
        (lambda x, y: numbers.exp(-abs(x)), lambda x, y: mpmath.exp(-abs(x))),
        (lambda x, y: numbers.log(abs(x)), lambda x, y: mpmath.log(abs(x))),
    ]
    for ours, theirs in functions:
        results = ours(wide_third, numbers.array(b))
        for result, x, y in zip(results, third, b, strict=True):
            answer = theirs(x, mpmath.mpf(float(y)))
            scale = max(abs(answer), abs(x) * abs(answer), mpmath.mpf(1))  # exp: absolute in x
            scale = max(scale, abs(x), abs(y))
            if scale < 1e250 and abs(x) < 600:
                assert abs(numbers.to_mpmath(result) - answer) < 4 * numbers.epsilon * scale


@numbers
def test_wide_sums_and_choices(numbers):
    a = numbers.array(np.arange(1, 8.0)[:, None]) / numbers.array(np.array([3.0, 7.0]))
    for j, d in enumerate((3, 7)):
        total = numbers.sum(a, 0)[j]
        assert abs(numbers.to_mpmath(total) - mpmath.mpf(28) / d) < 40 * numbers.epsilon
    assert numbers.to_float(numbers.where(a > 1.0, a, 0.0))[0, 0] == 0.0
    assert abs(numbers.to_mpmath(numbers.pi()) - mpmath.pi) < 4 * numbers.epsilon


@pairs
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1000.0])
@numbers
def test_arrays_are_the_definition(visible, hidden, scale, numbers):
    """log Z to the last digits of the wide type, the moments to those of float64."""
    model = adapters.random_model(visible, hidden, 3, 3)
    model = replace(model, weights=scale * model.weights)
    for side in enumeration.discrete_sides(model):
        slow = enumerate_in_mpmath(model, 0.7, side)
        fast = Enumeration(model, 0.7, side, numbers)
        size = max(1.0, float(slow.largest))
        assert abs(numbers.to_mpmath(fast.log_z) - slow.log_z) < 20 * numbers.epsilon * size
        assert fast.largest == pytest.approx(float(slow.largest), rel=1e-15)
        for name in enumeration.FIELDS:
            answer = np.asarray(getattr(slow, name), float)
            # The moments' own size, and the digits that a probability exp(-F) / Z has.
            error = (2e-16 + 20 * numbers.epsilon * size) * max(1.0, np.abs(answer).max(), size)
            np.testing.assert_allclose(getattr(fast.moments, name), answer, rtol=0, atol=error)


@pairs
@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_both_sides_and_the_grid_agree(visible, hidden, beta):
    """Either layer enumerated, and the joint law on the points of reference.exact."""
    model = models.small_model(visible, hidden)
    both = exact.solve(model, beta)
    v, h = both.v.points, both.h.points
    law, energy = both.joint, model.energy(both.v.points[:, None], both.h.points)
    grid = {
        "visible": law.sum(1) @ v,
        "hidden": law.sum(0) @ h,
        "products": v.T @ law @ h,
        "visible_products": (v.T * law.sum(1)) @ v,
        "hidden_products": (h.T * law.sum(0)) @ h,
        "energy": (law * energy).sum(),
        "energy_variance": (law * (energy - (law * energy).sum()) ** 2).sum(),
    }
    for side in enumeration.discrete_sides(model):
        answer = Enumeration(model, beta, side)
        assert answer.log_z == pytest.approx(both.log_z, abs=1e-11)
        for name, value in grid.items():
            np.testing.assert_allclose(getattr(answer.moments, name), value, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("visible", "hidden"), [p for p in models.PAIRS if "gaussian" not in p])
def test_entropy_is_that_of_the_joint_law(visible, hidden):
    both = exact.solve(models.small_model(visible, hidden), 0.8)
    entropy = -(both.joint * np.log(both.joint)).sum()
    assert Enumeration(both.model, 0.8).moments.entropy == pytest.approx(entropy, abs=1e-12)


def with_short_parameters(model):
    """The same with 2^-10 as the last place, so that parameter + 2^-20 is exact in float64."""
    sides = {
        side: replace(getattr(model, side), bias=np.round(getattr(model, side).bias * 1024) / 1024)
        for side in ("visible", "hidden")
    }
    return replace(model, weights=np.round(model.weights * 1024) / 1024, **sides)


def moved(array, index, step):
    array = np.array(array)
    array[index] += step
    return array


@pairs
def test_moments_are_derivatives(visible, hidden):
    """Of log Z at 50 digits: d/dW = <v h>, d/da = <v>, d/db = <h>, d/dbeta = -<E>, twice Var E."""
    model = with_short_parameters(adapters.random_model(visible, hidden, 2, 2, scale=1.0))
    moments = enumerate_in_mpmath(model)
    step = 2.0**-20

    def slope(log_z):
        """Central differences at h and 2 h: the error is of order h^4."""
        return (8 * (log_z(1) - log_z(-1)) - (log_z(2) - log_z(-2))) / (12 * step)

    for index in np.ndindex(model.weights.shape):

        def log_z(k, index=index):
            weights = moved(model.weights, index, k * step)
            return enumerate_in_mpmath(replace(model, weights=weights)).log_z

        assert abs(slope(log_z) - moments.products[index]) < 1e-18
    for side in ("visible", "hidden"):
        layer = getattr(model, side)
        for i in range(layer.n):

            def log_z(k, side=side, layer=layer, i=i):
                changed = replace(layer, bias=moved(layer.bias, i, k * step))
                return enumerate_in_mpmath(replace(model, **{side: changed})).log_z

            assert abs(slope(log_z) - getattr(moments, side)[i]) < 1e-18

    def of_beta(k):
        return enumerate_in_mpmath(model, 1.0 + k * step).log_z

    assert abs(slope(of_beta) + moments.energy) < 1e-15
    second = 16 * (of_beta(1) + of_beta(-1)) - (of_beta(2) + of_beta(-2)) - 30 * of_beta(0)
    assert abs(second / (12 * step**2) - moments.energy_variance) < 1e-12


# ----------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
@pytest.mark.parametrize("other", models.UNITS)
def test_counts(unit, other):
    """Two groups of equal rows, by counts and state by state."""
    model = adapters.random_model(unit, other, 7, 3)
    group = np.array([0, 0, 0, 1, 1, 1, 1])
    layer = replace(model.visible, bias=model.visible.bias[group])
    model = replace(model, visible=layer, weights=model.weights[group])
    answer = enumerate_in_mpmath(model, 0.9, "visible").log_z
    assert abs(closed_forms.by_counts(model, 0.9, "visible") - answer) < 1e-40
    swapped = closed_forms.by_counts(model.swapped(), 0.9, "hidden")
    assert abs(swapped - answer) < 1e-40


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
@pytest.mark.parametrize("other", models.UNITS)
def test_many_counts(unit, other):
    """The sum over counts in wide numbers is that in mpmath."""
    model = adapters.random_model(unit, other, 50, 2)
    group = np.arange(50) // 30
    layer = replace(model.visible, bias=model.visible.bias[group])
    model = replace(model, visible=layer, weights=model.weights[group])
    answer = closed_forms.by_counts(model, 0.9, "visible")
    assert abs(closed_forms.by_many_counts(model, 0.9) - answer) < 1e-15


def test_two_gaussian_layers():
    """Against the integral over h in closed form and over v by quadrature; constants included."""
    model = adapters.random_model("gaussian", "gaussian", 1, 2)
    beta = 0.8

    def density(v):
        weight = -beta * (model.visible.precision[0] * v**2 / 2 - model.visible.bias[0] * v)
        field = v * model.weights[0] + model.hidden.bias
        gamma = model.hidden.precision
        return mpmath.exp(weight + beta * float((field**2 / (2 * gamma)).sum()))

    constant = mpmath.fprod(mpmath.sqrt(2 * mpmath.pi / (beta * g)) for g in model.hidden.precision)
    with mpmath.workdps(20):
        answer = mpmath.log(mpmath.quad(density, [-30, -5, 0, 5, 30]) * constant)
    assert abs(closed_forms.two_gaussian_layers(model, beta) - answer) < 1e-12


@pytest.mark.parametrize(("n", "m"), [(3, 3), (3, 4), (4, 3)])
@pytest.mark.parametrize("coupling", [0.2, 0.44, 0.7])
def test_kaufman(n, m, coupling):
    """The torus by its 2^(n m) states, hidden units summed, and by Kaufman's formula."""
    model, log_z = closed_forms.torus(n, m, coupling)
    answer = Enumeration(model, side="visible")
    error = abs(answer.numbers.to_mpmath(answer.log_z) - log_z)
    assert error < 50 * answer.numbers.epsilon * answer.largest


def test_kaufman_at_28():
    """The value that the two-dimensional Ising literature gives for 28 x 28 at K = 0.4406."""
    assert float(closed_forms.kaufman(28, 28, 0.4406)) == pytest.approx(729.42349, abs=5e-6)
