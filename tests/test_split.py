"""The split product by itself: core.Split against enumeration, at every level, in any order."""

import itertools
import math
import os
import signal
import time

import adapters
import numpy as np
import pytest

import fastrbm
from fastrbm import _lib
from fastrbm._lib import core

LEVELS = _lib.simd_levels()
LONG = np.longdouble
PAIRS = [
    (x, y) for x in ("bernoulli", "spin") for y in ("bernoulli", "spin", "gaussian")
]  # the enumerated layer, the other
# Without 64-bit mantissas the reference itself rounds like the engine.
LIMIT = 1e-13 if np.finfo(LONG).nmant >= 63 else 1e-11


def make(enumerated, other, n, m, scale, side, seed=0, dtype="float64"):
    """A model with the enumerated layer on `side` and every parameter of the given scale."""
    rng = np.random.default_rng([seed, n, m])
    kinds = {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin, "gaussian": fastrbm.Gaussian}

    def layer(unit, n):
        more = {"precision": rng.uniform(0.5, 2, n)} if unit == "gaussian" else {}
        return kinds[unit](n, bias=scale * rng.normal(size=n), **more)

    x, y, w = layer(enumerated, n), layer(other, m), scale * rng.normal(size=(n, m))
    if side:
        return fastrbm.RBM(y, x, weights=w.T, dtype=dtype)
    return fastrbm.RBM(x, y, weights=w, dtype=dtype)


def oriented(rbm, side):
    """(enumerated layer, other layer, weights) in long double."""
    if side:
        return rbm.hidden, rbm.visible, rbm.weights.T.astype(LONG)
    return rbm.visible, rbm.hidden, rbm.weights.astype(LONG)


class Enumeration:
    """Everything from all states, in long double: states by number, bit i is unit i."""

    def __init__(self, rbm, side, beta=1.0):
        x, y, w = oriented(rbm, side)
        beta = LONG(beta)
        self.states = ((np.arange(2**x.n)[:, None] >> np.arange(x.n)) & 1).astype(LONG)
        if x.unit == "spin":
            self.states = 2 * self.states - 1
        f = self.states @ w + y.bias.astype(LONG)
        if y.unit == "gaussian":
            g = y.precision.astype(LONG)
            two_pi = LONG("6.28318530717958647692528676655900577")
            cgf = beta * f * f / (2 * g) + np.log(two_pi / (beta * g)) / 2
            self.means = f / g
            energy, variance = (g * self.means**2 - 1 / beta) / 2, 0 * f + 1 / (2 * beta**2)
        else:
            low = LONG(-1 if y.unit == "spin" else 0)
            cgf = np.logaddexp(beta * low * f, beta * f)
            self.means = low + (1 - low) * np.exp(-np.logaddexp(0, -beta * (1 - low) * f))
            energy, variance = f * self.means, f * f * (self.means - low) * (1 - self.means)
        own = self.states @ x.bias.astype(LONG)
        self.log_weights = cgf.sum(1) + beta * own
        top = self.log_weights.max()
        self.log_z = top + np.log(np.exp(self.log_weights - top).sum())
        self.p = np.exp(self.log_weights - self.log_z)
        self.largest = max(1.0, float(np.abs(self.log_weights).max()))
        energy = -own - energy.sum(1)
        mean, inner = self.p @ energy, self.p @ variance.sum(1)
        self.energy = np.array([mean, self.p @ (energy - mean) ** 2 + inner, inner], float)
        weighted = self.states * self.p[:, None]
        own, other, products = weighted.sum(0), self.p @ self.means, weighted.T @ self.means
        self.pairs = weighted.T @ self.states
        self.products = products.T if side else products
        self.visible, self.hidden = (other, own) if side else (own, other)


def plan_of(rbm, side=0, n_threads=1):
    return core.Split(rbm._core, side, n_threads)


def run(rbm, side=0, beta=1.0, n_threads=1, level=LEVELS[-1], indices=None):
    """The partial results of these shards (default: all)."""
    plan = plan_of(rbm, side, n_threads)
    indices = np.arange(plan.n_shards) if indices is None else np.asarray(indices)
    partials = np.zeros(len(indices), core.PARTIAL)
    plan.run(core.Exec(level, n_threads), beta, indices.astype(np.uint64), partials)
    return plan, partials


def log_z_of(partials):
    top = partials["exponent"].max()
    return top + math.log(math.fsum(partials["mantissa"] * np.exp(partials["exponent"] - top)))


def moments(rbm, side=0, beta=1.0, n_threads=1, level=LEVELS[-1], energy=True):
    n, m = rbm.weights.shape
    k = (n, m)[side]
    out = [np.full(shape, np.nan) for shape in ((n, m), n, m, (k, k), 3)]
    plan = plan_of(rbm, side, n_threads)
    log_z = plan.moments(core.Exec(level, n_threads), beta, *out[:4], out[4] if energy else None)
    return log_z, out


def check_log_z(rbm, side, beta=1.0, level=LEVELS[-1]):
    exact = Enumeration(rbm, side, beta)
    plan, partials = run(rbm, side, beta, level=level)
    error = abs(float(log_z_of(partials) - exact.log_z))
    assert error <= LIMIT * exact.largest
    # what merging rounds off is the caller's
    assert error <= plan.error_bound + 4e-16 * abs(float(exact.log_z))
    assert plan.error_bound < 1e-10 * exact.largest


# ------------------------------------------------------------------------------------------ log Z


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_log_z_is_the_sum_over_all_states(x, y, scale):
    for side, n, m in itertools.product((0, 1), (1, 4, 9, 12), (1, 6, 25)):
        check_log_z(make(x, y, n, m, scale, side), side, beta=0.8)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_tiny_layers(x, y, level):
    """Fewer states than lanes of a vector, and than rows of a block."""
    for n in range(1, 10):
        check_log_z(make(x, y, n, 3, 1.0, 0), 0, level=level)


@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("scale", [0.5, 50.0])
def test_types_and_levels(dtype, level, scale):
    """float32 models are widened: the sum is that of the parameters as stored."""
    for x, y in PAIRS:
        check_log_z(make(x, y, 10, 40, scale, 0, dtype=dtype), 0, 1.3, level)


def test_many_units_in_blocks():
    """So many units that products are cut into blocks, with and without exponents."""
    for scale in (0.05, 0.5, 5.0):
        check_log_z(make("bernoulli", "bernoulli", 9, 700, scale, 1), 1)
        check_log_z(make("spin", "spin", 7, 1100, scale, 0), 0)


def test_saturated_constant_and_wide_units_together():
    """Columns that are never on, always on, uncoupled, moderate, and of any range."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(11, 12))
    bias = rng.normal(size=12)
    bias[:2] -= 2000
    bias[2:4] += 2000
    weights[:, 4:6] = 0
    weights[:, 6:8] *= 500
    weights[:, 8] = 1e-22
    for x, y in itertools.product((fastrbm.Bernoulli, fastrbm.Spin), repeat=2):
        rbm = fastrbm.RBM(x(11, bias=rng.normal(size=11)), y(12, bias=bias), weights=weights)
        check_log_z(rbm, 0)
        exact = Enumeration(rbm, 0)
        _, (products, visible, hidden, *_) = moments(rbm)
        np.testing.assert_allclose(products, exact.products.astype(float), rtol=0, atol=1e-12)
        np.testing.assert_allclose(visible, exact.visible.astype(float), rtol=0, atol=1e-12)
        np.testing.assert_allclose(hidden, exact.hidden.astype(float), rtol=0, atol=1e-12)


def test_fields_that_cancel():
    """Biases undo the couplings at half the states: relative errors of terms do not grow."""
    rng = np.random.default_rng(0)
    weights = 300 * rng.normal(size=(12, 10))
    rbm = fastrbm.RBM(
        fastrbm.Bernoulli(12), fastrbm.Bernoulli(10, bias=-weights.sum(0) / 2), weights=weights
    )
    check_log_z(rbm, 0)
    # the linear part undoes what saturated units add: F stays small beside its terms
    rbm = fastrbm.RBM(
        fastrbm.Bernoulli(12, bias=-1e4 * np.ones(12)),
        fastrbm.Bernoulli(10, bias=5e3 * np.ones(10)),
        weights=1e3 * np.ones((12, 10)),
    )
    exact = Enumeration(rbm, 0)
    plan, partials = run(rbm)
    assert abs(float(log_z_of(partials) - exact.log_z)) <= 2 * plan.error_bound


def test_without_couplings_and_at_beta_0():
    rbm = make("spin", "bernoulli", 12, 7, 1.0, 0)
    assert log_z_of(run(rbm, beta=0.0)[1]) == pytest.approx(19 * math.log(2), rel=1e-15)
    rbm.weights[:] = 0
    expected = np.log(2 * np.cosh(rbm.visible.bias)).sum()
    expected += np.logaddexp(0, rbm.hidden.bias).sum()
    assert log_z_of(run(rbm)[1]) == pytest.approx(expected, rel=1e-14)


def test_both_sides_agree():
    for x, y in itertools.product(("bernoulli", "spin"), repeat=2):
        rbm = make(x, y, 13, 9, 0.7, 0)
        a, b = log_z_of(run(rbm, 0)[1]), log_z_of(run(rbm, 1)[1])
        assert a == pytest.approx(b, rel=1e-14)


def test_the_model_is_read_at_every_call():
    rbm = make("bernoulli", "spin", 8, 5, 1.0, 0)
    plan = plan_of(rbm)
    partials = np.zeros(plan.n_shards, core.PARTIAL)
    indices = np.arange(plan.n_shards, dtype=np.uint64)
    for factor in (1.0, -0.5, 40.0):
        rbm.weights *= factor
        plan.run(core.Exec(LEVELS[-1], 1), 1.0, indices, partials)
        expected = Enumeration(rbm, 0)
        assert abs(float(log_z_of(partials) - expected.log_z)) <= LIMIT * expected.largest


# ------------------------------------------------------------------------------- shards and threads


@pytest.mark.parametrize(
    ("x", "y", "n", "m", "scale"),
    [
        ("bernoulli", "bernoulli", 20, 30, 0.3),
        ("spin", "bernoulli", 19, 40, 8.0),
        ("bernoulli", "spin", 18, 20, 500.0),
        ("spin", "gaussian", 18, 21, 0.3),
    ],
)
def test_shards_have_the_same_bits_in_every_grouping(x, y, n, m, scale):
    rbm = make(x, y, n, m, scale, 0)
    plan, whole = run(rbm)
    assert plan.n_shards > 1
    np.testing.assert_array_equal(whole["index"], np.arange(plan.n_shards))
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(run(rbm, n_threads=threads)[1], whole)
    order = np.random.default_rng(0).permutation(plan.n_shards)
    for part in np.array_split(order, min(5, plan.n_shards)):
        np.testing.assert_array_equal(run(rbm, n_threads=2, indices=part)[1], whole[part])
    assert log_z_of(whole[order]) == log_z_of(whole)


def test_shards_are_contiguous_states():
    rbm = make("bernoulli", "spin", 18, 30, 0.5, 0)
    plan, partials = run(rbm)
    assert plan.n_shards > 1
    logs = np.empty(2**18)
    plan.log_weights(core.Exec(LEVELS[-1], 1), 1.0, 0, logs)
    sums = np.exp(logs.reshape(plan.n_shards, -1) - logs.max()).sum(1)
    expected = partials["mantissa"] * np.exp(partials["exponent"] - logs.max())
    np.testing.assert_allclose(sums, expected, rtol=1e-11)
    np.testing.assert_array_equal(partials["lost"], 0)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_moments_have_the_same_bits_for_every_number_of_threads(threads):
    for x, y, scale in [("bernoulli", "bernoulli", 0.3), ("spin", "spin", 90.0),
                        ("bernoulli", "gaussian", 0.3)]:  # fmt: skip
        rbm = make(x, y, 13, 20, scale, 0)
        one, many = moments(rbm), moments(rbm, n_threads=threads)
        assert one[0] == many[0]
        for a, b in zip(one[1], many[1], strict=True):
            np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------------------------------- moments


def check_moments(rbm, side, beta=1.0, level=LEVELS[-1], slack=1.0):
    exact = Enumeration(rbm, side, beta)
    log_z, out = moments(rbm, side, beta, level=level)
    assert abs(float(log_z - exact.log_z)) <= LIMIT * exact.largest
    expected = (exact.products, exact.visible, exact.hidden, exact.pairs, exact.energy)
    for got, right in zip(out, expected, strict=True):
        size = max(1.0, float(np.abs(right).max()))
        # a weight is off by the rounding of its log-weight
        np.testing.assert_allclose(
            got, right.astype(float), rtol=0, atol=10 * LIMIT * slack * size * exact.largest
        )


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_moments_are_sums_over_all_states(x, y, scale):
    for side, n, m in itertools.product((0, 1), (1, 3, 9, 11), (1, 40)):
        check_moments(make(x, y, n, m, scale, side), side, beta=0.8)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", adapters.DTYPES)
def test_moments_of_every_level_and_type(level, dtype):
    for (x, y), scale in itertools.product(PAIRS, (0.5, 20.0)):
        check_moments(make(x, y, 10, 33, scale, 0, dtype=dtype), 0, level=level)


def test_moments_of_saturated_units_keep_their_digits():
    """In any range the factored form is as good as for small weights: no log-weight is rounded."""
    rbm = make("bernoulli", "bernoulli", 12, 10, 1000.0, 0)
    exact = Enumeration(rbm, 0)
    _, (products, visible, hidden, *_) = moments(rbm, energy=False)
    np.testing.assert_allclose(products, exact.products.astype(float), rtol=0, atol=1e-13)
    np.testing.assert_allclose(visible, exact.visible.astype(float), rtol=0, atol=1e-13)
    np.testing.assert_allclose(hidden, exact.hidden.astype(float), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_moments_are_derivatives_of_log_z(x, y):
    """By central differences of the sum itself: weights, biases and beta."""
    rbm = make(x, y, 9, 6, 0.4, 0)
    beta, step = 0.9, 1e-4
    _, (products, visible, hidden, _, energy) = moments(rbm, beta=beta)

    def slope(array, at):
        value, ends = array[at], []
        for sign in (1, -1):
            array[at] = value + sign * step
            ends.append(log_z_of(run(rbm, beta=beta)[1]))
        array[at] = value
        return (ends[0] - ends[1]) / (2 * step * beta)

    for at in ((0, 0), (3, 5), (8, 2)):
        assert slope(rbm.weights, at) == pytest.approx(products[at], abs=1e-6)
    assert slope(rbm.visible.bias, 4) == pytest.approx(visible[4], abs=1e-6)
    assert slope(rbm.hidden.bias, 3) == pytest.approx(hidden[3], abs=1e-6)
    at = [log_z_of(run(rbm, beta=beta + k * step)[1]) for k in (-1, 0, 1)]
    assert -(at[2] - at[0]) / (2 * step) == pytest.approx(energy[0], abs=1e-5)
    assert (at[2] - 2 * at[1] + at[0]) / step**2 == pytest.approx(energy[1], abs=1e-4)


def test_moments_by_both_sides_agree():
    rbm = make("spin", "bernoulli", 14, 11, 0.6, 0)
    (_, a), (_, b) = moments(rbm, 0), moments(rbm, 1)
    for k in range(3):
        np.testing.assert_allclose(a[k], b[k], rtol=0, atol=1e-13)
    np.testing.assert_allclose(a[4][:2], b[4][:2], rtol=1e-12)


# ------------------------------------------------------------------------------------- log-weights


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_log_weights_of_any_stretch_of_states(x, y):
    rbm = make(x, y, 10, 70, 0.8, 0)
    exact = Enumeration(rbm, 0, 1.2)
    plan = plan_of(rbm, n_threads=2)
    for first, count in ((0, 1024), (1, 1), (63, 130), (700, 324), (1024, 0)):
        out = np.full(count, np.nan)
        plan.log_weights(core.Exec(LEVELS[-1], 2), 1.2, first, out)
        expected = exact.log_weights[first : first + count].astype(float)
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-13 * exact.largest)


# ---------------------------------------------------------------------------- refusals and signals


def test_layers_that_cannot_be_enumerated():
    rbm = make("spin", "gaussian", 4, 3, 1.0, 0)
    with pytest.raises(ValueError, match="two-state"):
        plan_of(rbm, 1)
    with pytest.raises(ValueError, match="60"):
        plan_of(fastrbm.RBM(fastrbm.Spin(61), fastrbm.Spin(3)), 0)
    with pytest.raises(ValueError, match="beta"):
        run(rbm, beta=0.0)
    with pytest.raises(ValueError, match="argument"):
        run(rbm, indices=[plan_of(rbm).n_shards])


def test_weights_beyond_double_precision():
    rbm = make("spin", "bernoulli", 5, 4, 1e15, 0)
    with pytest.raises(ValueError, match="1e15"):
        run(rbm)
    with pytest.raises(ValueError, match="1e15"):
        moments(make("bernoulli", "gaussian", 5, 4, 1e9, 0))


def test_outputs_have_their_shapes():
    plan = plan_of(make("spin", "bernoulli", 5, 4, 1.0, 0))
    exec_ = core.Exec(LEVELS[-1], 1)
    indices = np.zeros(1, np.uint64)
    with pytest.raises(ValueError, match="PARTIAL"):
        plan.run(exec_, 1.0, indices, np.zeros(2, core.PARTIAL))
    with pytest.raises(ValueError, match="PARTIAL"):
        plan.run(exec_, 1.0, indices, np.zeros(1))
    with pytest.raises(ValueError, match="element type"):
        plan.run(exec_, 1.0, np.zeros(1, np.int32), np.zeros(1, core.PARTIAL))
    with pytest.raises(ValueError, match="width"):
        plan.moments(exec_, 1.0, np.zeros((4, 5)), np.zeros(5), np.zeros(4))
    with pytest.raises(ValueError, match="argument"):
        plan.log_weights(exec_, 1.0, 31, np.zeros(2))


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("work", ["run", "moments", "energy", "log_weights"])
def test_a_signal_stops_long_work(work):
    """2^40 states and more take hours; an alarm after a fifth of a second ends them."""
    rbm = make("bernoulli", "bernoulli", 30 if work == "log_weights" else 44, 30, 0.1, 0)
    rbm = make("spin", "gaussian", 44, 5, 0.1, 0) if work == "energy" else rbm

    class Alarm(Exception):
        pass

    def ring(number, frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    out = np.empty(2**24) if work == "log_weights" else None

    def long_work():
        while work == "log_weights":
            plan_of(rbm, 0, 2).log_weights(core.Exec(LEVELS[-1], 2), 1.0, 0, out)
        if work == "run":
            run(rbm, n_threads=2)
        moments(rbm, n_threads=2, energy=work == "energy")

    began = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Alarm):
            long_work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - began < 1.2


def test_size_of_the_problem():
    plan = plan_of(fastrbm.RBM(fastrbm.Bernoulli(784), fastrbm.Bernoulli(60)), 1)
    assert plan.n_state_units == 784 * 2.0**60
    assert plan.n_shards <= 2**16
    assert plan.workspace_bytes < 2**26
