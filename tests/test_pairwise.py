"""The three-panel product by itself, against sums over all states."""

import _thread
import math
import threading
import time

import numpy as np
import pytest

from fastrbm import _lib
from fastrbm._lib import core

LEVELS = _lib.simd_levels()


def problem(n, low, scale, seed=0):
    rng = np.random.default_rng(seed)
    coupling = np.triu(rng.normal(size=(n, n)) * scale / np.sqrt(n), 1)
    return rng.normal(size=n) * scale, coupling + coupling.T, low, 1.0


def enumerate_states(linear, coupling, low, high):
    """States (2^n, n) and their log-weights, in wide numbers."""
    n = len(linear)
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    states = np.where(bits, np.longdouble(high), np.longdouble(low))
    upper = np.triu(coupling, 1).astype(np.longdouble)
    log_weights = states @ linear.astype(np.longdouble) + ((states @ upper) * states).sum(1)
    return states, log_weights


def exact_log_sum(log_weights):
    most = log_weights.max()
    return float(most + np.log(np.exp(log_weights - most).sum()))


def run(plan, indices=None, executor=None, **options):
    indices = np.arange(plan.n_shards) if indices is None else np.asarray(indices)
    partials = np.zeros(len(indices), core.PARTIAL)
    plan.run(executor or _lib.executor(2), indices.astype(np.uint64), partials, **options)
    return partials


def merged(partials, name="mantissa"):
    """log of the sum of the shards."""
    most = partials["exponent"].max()
    total = math.fsum(partials[name] * np.exp(partials["exponent"] - most))
    return most + (math.log(total) if total > 0 else -math.inf)


def tolerance(log_weights):
    return 1e-13 * max(1.0, float(abs(log_weights).max()))


PROBLEMS = [
    (1, -1, 1, None),
    (2, 0, 1, (0, 2, 0)),
    (5, -1, 1, None),
    (7, -1, 30, None),
    (9, 0, 1, (1, 1, 7)),
    (12, -1, 3, (4, 4, 4)),
    (13, 0, 30, None),
    (13, -1, 1000, (6, 5, 2)),
    (14, -1, 1e-3, (0, 7, 7)),
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("n", "low", "scale", "bits"), PROBLEMS)
def test_every_block_size_gives_the_sum_over_all_states(n, low, scale, bits, level):
    args = problem(n, low, scale)
    _, log_weights = enumerate_states(*args)
    plan = core.Pairwise(*args, bits=bits)
    with _lib.use_simd(level):
        for block_bits in range(plan.tile_bits[2] + 1):
            partials = run(plan, block_bits=block_bits, executor=_lib.executor(2))
            lost = math.exp(min(0.0, merged(partials, "lost") - exact_log_sum(log_weights)))
            if lost < 1e-16:
                error = abs(merged(partials) - exact_log_sum(log_weights))
                assert error <= tolerance(log_weights)
            else:
                assert block_bits > 0
                assert scale >= 30


@pytest.mark.parametrize("scale", [1, 5, 30, 300])
def test_what_underflow_loses_is_never_more_than_the_bound(scale):
    for seed in range(10):
        args = problem(12, -1, scale, seed)
        _, log_weights = enumerate_states(*args)
        exact = exact_log_sum(log_weights)
        plan = core.Pairwise(*args, float32=True, bits=(3, 4, 5))
        for block_bits in range(6):
            partials = run(plan, block_bits=block_bits)
            lost = math.exp(min(700.0, merged(partials, "lost") - exact))
            got = math.exp(merged(partials) - exact) if merged(partials) > -math.inf else 0.0
            assert abs(got - 1) <= lost + 300 * 2.0**-24 + tolerance(log_weights)
            if block_bits == 0:
                assert not partials["lost"].any()


@pytest.mark.parametrize("float32", [False, True])
def test_shards_in_any_grouping_order_and_number_of_threads_are_the_same_bits(float32):
    plan = core.Pairwise(*problem(19, -1, 1), float32=float32)
    assert plan.n_shards > 1
    whole = run(plan)
    for n_threads in (1, 3, 7):
        assert np.array_equal(run(plan, executor=_lib.executor(n_threads)), whole)
    backwards = np.arange(plan.n_shards)[::-1]
    assert np.array_equal(run(plan, backwards), whole[::-1])
    for index in range(plan.n_shards):
        assert run(plan, [index])[0] == whole[index]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("n", "low", "scale", "bits"), PROBLEMS)
def test_moments_of_two_groups_are_sums_over_all_states(n, low, scale, bits, level):
    args = problem(n, low, scale)
    states, log_weights = enumerate_states(*args)
    law = np.exp(log_weights - log_weights.max())
    law /= law.sum()
    plan = core.Pairwise(*args, bits=bits)
    n_a, n_ab = plan.bits[0], plan.bits[0] + plan.bits[1]
    panel = panels(args, states, plan.bits)[0]
    mean = law @ states[:, :n_ab]
    second = (states[:, :n_ab] * law[:, None]).T @ states[:, :n_ab]
    with _lib.use_simd(level):
        for block_bits in (None, np.zeros(plan.n_shards, np.uint8)):
            if block_bits is None and scale >= 30:
                continue  # loses too much: what `lost` is for
            got = plan.moments(_lib.executor(2), block_bits, True)
            log_z, got_mean, got_second, energy, variance, partials = got
            exponents = 1 + float(abs(log_weights).max())
            assert abs(log_z - exact_log_sum(log_weights)) <= tolerance(log_weights)
            assert abs(merged(partials) - log_z) <= tolerance(log_weights)
            np.testing.assert_allclose(got_mean, mean.astype(float), atol=1e-13 * exponents)
            np.testing.assert_allclose(got_second, second.astype(float), atol=1e-13 * exponents)
            if n_a > 0:
                about = law @ panel
                square = float(law @ (panel - about) ** 2)
                assert abs(energy - float(about)) <= 1e-12 * max(1, float(abs(panel).max()))
                assert abs(variance - square) <= 1e-12 * exponents * max(1, square)


def panels(args, states, bits):
    """Log-weights of the panels A with A-B, B with B-C, C with C-A, for every state."""
    linear, coupling = args[0], np.triu(args[1], 1)
    ends = np.cumsum((0, *bits))
    groups = [slice(ends[g], ends[g + 1]) for g in range(3)]

    def term(g, h):
        x, y = states[:, groups[g]], states[:, groups[h]]
        if g == h:
            return x @ linear[groups[g]] + ((x @ coupling[groups[g], groups[g]]) * x).sum(1)
        block = (coupling + coupling.T)[groups[g], groups[h]]
        return ((x @ block) * y).sum(1)

    return [term(g, g) + term(g, (g + 1) % 3) for g in range(3)]


@pytest.mark.parametrize("powers", [(1, 0, 0), (1, 1, 0), (0, 1, 1), (2, 0, 1)])
def test_powers_multiply_the_panels_by_their_log_weights(powers):
    args = problem(13, 0, 2)
    states, log_weights = enumerate_states(*args)
    plan = core.Pairwise(*args, bits=(5, 4, 4))
    centres = (0.3, 0.2, -0.1)
    law = np.exp(log_weights - exact_log_sum(log_weights))
    for x, power, centre in zip(panels(args, states, plan.bits), powers, centres, strict=True):
        law = law * (x - centre) ** power
    for block_bits in range(plan.tile_bits[2] + 1):
        partials = run(plan, block_bits=block_bits, powers=powers, centres=centres)
        exponent = partials["exponent"] - exact_log_sum(log_weights)
        got = math.fsum(partials["mantissa"] * np.exp(exponent))
        assert got == pytest.approx(float(law.sum()), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("block_bits", [4, 2, 0])
def test_tiles_hold_the_weights_of_pairs_of_states(block_bits):
    args = problem(17, -1, 1)
    plan = core.Pairwise(*args, bits=(7, 6, 4))
    _, log_weights = enumerate_states(*args)
    weights = np.exp(log_weights - log_weights.max()).astype(float).reshape(2**4, 2**6, 2**7)
    tile = [2**b for b in plan.tile_bits]
    for index in range(plan.n_shards):
        a, b, c = (int(x) for x in plan.place(index))
        for block in range(2 ** (plan.tile_bits[2] - block_bits)):
            exponents, got = plan.tile(_lib.executor(1), index, block_bits, block)
            first, n = c + block * 2**block_bits, 2**block_bits
            want = weights[first : first + n, b : b + tile[1], a : a + tile[0]].sum(0).T
            got = got * np.exp(exponents - float(log_weights.max()))
            np.testing.assert_allclose(got, want, rtol=1e-11)


REFUSED = "outside its range|not finite|type|must be|cannot be cut"


def test_problems_that_do_not_fit_are_refused():
    linear, coupling, low, high = problem(6, -1, 1)
    for bad in (
        (linear[:5], coupling, low, high),
        (linear, coupling[:5], low, high),
        (linear * np.nan, coupling, low, high),
        (linear, coupling, high, low),
        (np.zeros(61), np.zeros((61, 61)), low, high),
    ):
        with pytest.raises(ValueError, match=REFUSED):
            core.Pairwise(*bad)
    for bits in ((1, 1, 1), (6, 6, 6)):
        with pytest.raises(ValueError, match=REFUSED):
            core.Pairwise(linear, coupling, low, high, bits=bits)


def test_calls_that_do_not_fit_are_refused():
    plan = core.Pairwise(*problem(6, -1, 1))
    narrow = core.Pairwise(*problem(6, -1, 1), float32=True)
    one = np.zeros(1, np.uint64)
    for call in (
        lambda: run(plan, [plan.n_shards]),
        lambda: run(plan, block_bits=plan.tile_bits[2] + 1),
        lambda: plan.run(_lib.executor(1), one, np.zeros(2, core.PARTIAL)),
        lambda: plan.run(_lib.executor(1), one, np.zeros(1)),
        lambda: run(narrow, powers=(1, 0, 0)),
        lambda: narrow.moments(_lib.executor(1)),
        lambda: plan.moments(_lib.executor(1), np.full(plan.n_shards, 60, np.uint8)),
        lambda: plan.tile(_lib.executor(1), plan.n_shards),
        lambda: plan.tile(_lib.executor(1), 0, None, 1),
    ):
        with pytest.raises(ValueError, match=REFUSED):
            call()


@pytest.mark.parametrize("what", ["run", "moments"])
def test_a_long_sum_stops_within_a_second(what):
    plan = core.Pairwise(*problem(40, -1, 1))
    timer = threading.Timer(0.3, _thread.interrupt_main)
    began = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(plan) if what == "run" else plan.moments(_lib.executor(2))
    timer.join()
    assert time.perf_counter() - began < 1.3
