"""Exact sums in shards: what each shard holds and has lost, and any grouping gives the same bits.

A partial result (index, exponent, mantissa, lost) says: the shard's sum is mantissa exp(exponent),
of which underflow has lost at most lost exp(exponent).
"""

import math

import mpmath
import numpy as np
import pytest
from reference import pairs
from reference.enumeration import DIGITS
from reference.wide import WIDE

import fastrbm
from fastrbm import _lib
from fastrbm._lib import core
from fastrbm.evaluation import Shards

U = 2.0**-53
types = pytest.mark.parametrize("float32", [False, True], ids=["float64", "float32"])
values = pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1)], ids=["bernoulli", "spin"])


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(DIGITS):
        yield


def run(plan, indices=None, n_threads=None, **options):
    indices = np.arange(plan.n_shards, dtype=np.uint64) if indices is None else indices
    partials = np.zeros(len(indices), core.PARTIAL)
    plan.run(_lib.executor(n_threads), indices, partials, **options)
    return partials


def states_of(plan, index):
    """The numbers of a shard's states, by the order of its units: A first, then B, then C."""
    first = plan.place(index)
    axes = [
        np.arange(start, start + 2**bits) << shift
        for start, bits, shift in zip(
            first, plan.tile_bits, np.cumsum([0, *plan.bits[:2]]), strict=True
        )
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    return (grid[0] | grid[1] | grid[2]).ravel()


def rounding(plan, linear, coupling, low, high):
    """What a shard's sum may be off, relatively, beside what was lost."""
    size = max(abs(low), abs(high))
    exponents = np.abs(linear).sum() * size + np.abs(np.triu(coupling, 1)).sum() * size**2
    return plan.relative_error + U * (plan.n + 16) * exponents


def check_shard(partial, log_sum, relative):
    """The record's interval holds the shard's sum."""
    if partial["mantissa"] == 0:
        assert partial["lost"] > 0 or partial["exponent"] == -np.inf
    scale = mpmath.exp(
        log_sum - mpmath.mpf(float(partial["exponent"]))
    )  # in units of exp(exponent)
    value, lost = (mpmath.mpf(float(partial[name])) for name in ("mantissa", "lost"))
    assert value <= scale * (1 + relative)
    assert value >= scale * (1 - relative) - lost


SCALES = (1e-3, 0.3, 3.0, 30.0, 300.0)


@types
@values
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 11, 13])
def test_one_shard(n, scale, low, high, float32):
    linear, coupling = pairs.random_pairs(n, scale, seed=n)
    plan = core.Pairwise(linear, coupling, low, high, float32)
    assert plan.n_shards == 1
    assert sum(plan.bits) == n
    log_sum = pairs.log_sum(pairs.log_weights(linear, coupling, low, high))
    relative = rounding(plan, linear, coupling, low, high)
    for block_bits in range(plan.tile_bits[2] + 1):
        (partial,) = run(plan, block_bits=block_bits)
        check_shard(partial, log_sum, relative)
    # The finest blocks lose nothing.
    (partial,) = run(plan, block_bits=0)
    assert partial["lost"] <= 1e-16 * partial["mantissa"]


@types
@values
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("n", [19, 20])
def test_many_shards(n, scale, low, high, float32):
    """Each shard holds the states that `place` says, and together they are all states."""
    linear, coupling = pairs.random_pairs(n, scale, seed=n)
    plan = core.Pairwise(linear, coupling, low, high, float32)
    weights = pairs.log_weights(linear, coupling, low, high)
    relative = rounding(plan, linear, coupling, low, high)
    seen = np.zeros(2**n, np.int8)
    for index, partial in enumerate(run(plan)):
        assert partial["index"] == index
        numbers = states_of(plan, index)
        seen[numbers] += 1
        check_shard(partial, pairs.log_sum(weights[numbers]), relative)
    assert (seen == 1).all()


@types
@pytest.mark.parametrize("bits", [(0, 9, 0), (9, 0, 0), (0, 0, 9), (2, 3, 4), (4, 4, 1), (1, 7, 1)])
def test_other_groups(bits, float32):
    linear, coupling = pairs.random_pairs(9, 1.0, seed=3)
    plan = core.Pairwise(linear, coupling, -1, 1, float32, bits=bits)
    assert plan.bits == bits
    log_sum = pairs.log_sum(pairs.log_weights(linear, coupling, -1, 1))
    parts = run(plan)
    total = mpmath.fsum(
        mpmath.mpf(float(p["mantissa"])) * mpmath.exp(mpmath.mpf(float(p["exponent"])))
        for p in parts
    )
    assert abs(total / mpmath.exp(log_sum) - 1) < rounding(plan, linear, coupling, -1, 1)


@types
@pytest.mark.parametrize("level", _lib.simd_levels())
def test_simd_levels(level, float32):
    for scale in (0.3, 30.0):
        linear, coupling = pairs.random_pairs(14, scale, seed=2)
        plan = core.Pairwise(linear, coupling, -1, 1, float32)
        log_sum = pairs.log_sum(pairs.log_weights(linear, coupling, -1, 1))
        relative = rounding(plan, linear, coupling, -1, 1)
        with _lib.use_simd(level):
            for block_bits in (plan.tile_bits[2], 1, 0):
                check_shard(run(plan, block_bits=block_bits)[0], log_sum, relative)


@types
@pytest.mark.parametrize("block_bits", [None, 2, 0])
def test_order_grouping_and_threads(float32, block_bits):
    """At once, one by one, backwards, doubled, by 1, 2, 3, 7 threads: the same bits."""
    rng = np.random.default_rng(1)
    linear, coupling = pairs.random_pairs(22, 1.0, seed=2)
    plan = core.Pairwise(linear, coupling, -1, 1, float32)
    n = plan.n_shards if block_bits is None else min(plan.n_shards, 3)
    whole = run(plan, np.arange(n, dtype=np.uint64), block_bits=block_bits, n_threads=1)
    for n_threads in (2, 3, 7):
        indices = np.arange(n, dtype=np.uint64)
        again = run(plan, indices, n_threads=n_threads, block_bits=block_bits)
        np.testing.assert_array_equal(again, whole)
    orders = [[[i] for i in range(n)], [list(range(n))[::-1]], [[i, i] for i in range(n)]]
    orders += [np.array_split(rng.permutation(n), max(1, n // 3))]
    for groups in orders:
        for group in groups:
            indices = np.array(group, np.uint64)
            np.testing.assert_array_equal(
                run(plan, indices, block_bits=block_bits, n_threads=2), whole[group]
            )


@types
def test_a_dropped_shard_is_seen(float32):
    """Every shard holds mass here: leaving one out is far outside the bound."""
    linear, coupling = pairs.random_pairs(20, 0.1, seed=2)
    plan = core.Pairwise(linear, coupling, -1, 1, float32)
    log_sum = pairs.log_sum(pairs.log_weights(linear, coupling, -1, 1))
    parts = run(plan)
    top = parts["exponent"].max()
    for index in range(plan.n_shards):
        rest = np.delete(parts, index)
        value = top + math.log(math.fsum(rest["mantissa"] * np.exp(rest["exponent"] - top)))
        assert abs(value - log_sum) > 1e-3


@pytest.mark.parametrize("n", [1, 3, 5, 6, 7, 10, 13])
def test_moments(n):
    """Means and products of the units of A and B, wherever the groups lie and fine the blocks."""
    for scale in (0.3, 3.0, 30.0):
        linear, coupling = pairs.random_pairs(n, scale, seed=5)
        weights = pairs.log_weights(linear, coupling, -1, 1)
        log_sum = pairs.log_sum(weights)
        p = WIDE.to_float(WIDE.exp(weights - float(log_sum)))
        p /= p.sum()
        x = 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
        a, b, c = core.Pairwise(linear, coupling, -1, 1).bits
        for bits in {(a, b, c), (b, c, a), (c, a, b)}:
            plan = core.Pairwise(linear, coupling, -1, 1, bits=bits)
            k = bits[0] + bits[1]
            atol = rounding(plan, linear, coupling, -1, 1)
            for block_bits in (None, np.zeros(plan.n_shards, np.uint8)):
                dirty_the_heap()
                log_z, mean, second, *_, partials = plan.moments(_lib.executor(2), block_bits)
                lost = float((partials["lost"] / partials["mantissa"]).sum())
                assert abs(log_z - log_sum) <= atol + lost
                np.testing.assert_allclose(mean, p @ x[:, :k], atol=2 * (atol + lost))
                answer = (x[:, :k].T * p) @ x[:, :k]
                np.testing.assert_allclose(second, answer, atol=2 * (atol + lost))


def dirty_the_heap():
    """Leave blocks full of NaN where the next workspace may come from."""
    sizes = (20, 100, 1000, 8000, 26_000, 30_000, 64_000, 120_000)
    blocks = [np.full(size, np.nan) for size in sizes for _ in range(3)]
    del blocks


# ------------------------------------------------------------------------- both methods, publicly


def model(method, dtype="float64", scale=0.1):
    """Of 16 shards or more."""
    rng = np.random.default_rng(4)
    if method == "pairwise":
        layers = fastrbm.Spin(24, bias=0.1), fastrbm.Gaussian(18, bias=0.2)
    else:
        layers = fastrbm.Bernoulli(30, bias=-0.5), fastrbm.Spin(21, bias=0.1)
    weights = scale * rng.standard_normal((layers[0].n, layers[1].n))
    return fastrbm.RBM(*layers, weights=weights, dtype=dtype)


methods = pytest.mark.parametrize("method", ["pairwise", "split"])


@methods
@pytest.mark.parametrize("scale", [0.1, 5.0])
def test_any_order_gives_the_same_bits(method, scale):
    """Groups of any size, in any order, by any number of threads, each from another `Shards`."""
    rbm = model(method, scale=scale)
    z = fastrbm.log_partition(rbm, method=method)
    rng = np.random.default_rng(1)
    n = Shards(rbm, method=method).n_shards
    assert n >= 8
    for n_groups in (1, 2, 7):
        parts = [
            Shards(rbm, method=method).run(group, n_threads=1 + i % 3)
            for i, group in enumerate(np.array_split(rng.permutation(n), n_groups))
        ]
        rng.shuffle(parts)
        partials = np.concatenate(parts)
        merged = Shards(rbm, method=method).merge(partials)
        assert (merged.value, merged.error) == (z.value, z.error)
        assert merged.n_states == z.n_states
        assert merged.method == method


@methods
def test_shards_do_not_depend_on_the_machine(method):
    """Their number and cut are the model's: threads and SIMD levels do not move them."""
    rbm = model(method)
    counts, parts = set(), []
    for level in _lib.simd_levels():
        with _lib.use_simd(level):
            shards = Shards(rbm, method=method)
            counts.add(shards.n_shards)
            parts.append(shards.run([0, shards.n_shards - 1]))
    assert len(counts) == 1
    for part in parts[1:]:
        value = np.log(part["mantissa"]) + part["exponent"]
        other = np.log(parts[0]["mantissa"]) + parts[0]["exponent"]
        np.testing.assert_allclose(value, other, rtol=1e-12)


@methods
def test_a_result_that_misses_a_shard_is_refused(method):
    shards = Shards(model(method), method=method)
    partials = shards.run()
    for wrong in (partials[1:], partials[:-1], np.append(partials, partials[:1]), partials[:0]):
        with pytest.raises(ValueError, match="shard"):
            shards.merge(wrong)
    twice = partials.copy()
    twice[0] = twice[1]
    with pytest.raises(ValueError, match="shard"):
        shards.merge(twice)


@methods
@pytest.mark.parametrize("indices", [[-1], [10**6], [0.5], ["a"], [[0, 1]]])
def test_bad_indices(method, indices):
    with pytest.raises((ValueError, TypeError), match="indices"):
        Shards(model(method), method=method).run(indices)


@methods
def test_every_shard_holds_its_part(method):
    """Without any one of them the sum is outside the bound, by far."""
    rbm = model(method)
    z = fastrbm.log_partition(rbm, method=method)
    partials = Shards(rbm, method=method).run()
    log_parts = partials["exponent"] + np.log(partials["mantissa"])
    total = np.logaddexp.reduce(log_parts)
    for index in range(len(partials)):
        less = np.logaddexp.reduce(np.delete(log_parts, index))
        assert total - less > 1e3 * z.error


def test_methods_without_shards():
    with pytest.raises(ValueError, match="method"):
        Shards(model("pairwise"), method="elimination")
    with pytest.raises(ValueError, match="split"):
        Shards(fastrbm.RBM(fastrbm.Gaussian(3), fastrbm.Gaussian(2), rng=1))


def test_what_an_interruption_leaves():
    """Ctrl-C carries the shards that were done: they and the others give the whole."""
    rbm = model("split")
    z = fastrbm.log_partition(rbm, method="split")
    shards = Shards(rbm, method="split")

    def press(state):
        if state.done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(fastrbm.Interrupted) as caught:
        shards.run(callback=press, n_threads=1)
    done = caught.value.result
    if done is None:
        done = np.zeros(0, shards.dtype)
    rest = np.setdiff1d(np.arange(shards.n_shards), done["index"])
    whole = np.concatenate([done, shards.run(rest)])
    assert shards.merge(whole).value == z.value
