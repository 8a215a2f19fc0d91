"""Philox, its counters and purposes, keys from SPEC 7 generators, and who repeats when."""

import numpy as np
import pytest
from numpy.random import PCG64, Generator, SeedSequence, default_rng
from reference import checks, philox
from reference.checks import ALPHA
from scipy import stats

import fastrbm
from fastrbm import random
from fastrbm._lib import core

KEY = 0x0123456789ABCDEF


# -------------------------------------------------------------------------------------- the words


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, [0] * 2, "6627e8d5e169c58dbc57ac4c9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d41c83b0ea20bc7c66d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe0994fdcceb5001e42024126ea1",
        ),
    ],
)
def test_known_answers(counter, key, answer):
    """Random123's kat_vectors for philox4x32-10: zeros, ones, digits of pi."""
    words = core.philox(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert "".join(f"{word:08x}" for word in words) == answer


@pytest.mark.parametrize("n", [1, 3, 4, 5, 31, 64, 65, 301])
@pytest.mark.parametrize("step", [0, 1, 2**32 - 1, 2**32, 2**40 + 7])
def test_words_of_a_row(n, step):
    """Counter = (block, row, step low, purpose | step high << 8)."""
    for row in (0, 1, 2**32 - 1):
        ours = core.uniform_bits(KEY, 3, step, row, n)
        np.testing.assert_array_equal(ours, philox.words(KEY, "START", step, [row], n)[0])


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 64, 65, 301])
@pytest.mark.parametrize("step", [0, 2**32 - 1, 2**40 + 7])
def test_bit_words_of_a_row(n, step):
    """The words of two-state units: upper and lower halves from two blocks for eight units."""
    for row in (0, 1, 2**32 - 1):
        ours = core.bit_words(KEY, 3, step, row, n)
        np.testing.assert_array_equal(ours, philox.bit_words(KEY, "START", step, [row], n)[0])


def test_bit_words_by_hand():
    """The first known answer, half by half; and which place of which block a later half has."""
    upper = core.bit_words(0, 0, 0, 0, 8) >> 16
    assert [f"{half:04x}" for half in upper] == (
        ["e8d5", "6627", "c58d", "e169", "ac4c", "bc57", "dbd8", "9b00"]
    )
    words = core.bit_words(KEY, 1, 5, 7, 24)
    key = (KEY & 0xFFFFFFFF, KEY >> 32)
    for unit, block, word, shift in ((8, 1, 0, 0), (11, 1, 1, 16), (22, 2, 3, 0), (23, 2, 3, 16)):
        upper, lower = (
            core.philox((number, 7, 5, 1), key)[word] >> shift & 0xFFFF
            for number in (block, block + 2**31)
        )
        assert words[unit] == upper << 16 | lower


def test_purposes_are_distinct_and_known():
    """Two uses never share a counter; the oracle's numbers are the compiled ones."""
    assert core.purposes() == philox.PURPOSES
    assert len(set(philox.PURPOSES.values())) == len(philox.PURPOSES)
    assert all(0 < value < 256 for value in philox.PURPOSES.values())


def test_streams_differ():
    """Changing any part of the counter, or the key, changes every word."""
    base = core.uniform_bits(KEY, 1, 0, 0, 64)
    others = [
        core.uniform_bits(KEY, 2, 0, 0, 64),
        core.uniform_bits(KEY, 1, 1, 0, 64),
        core.uniform_bits(KEY, 1, 2**32, 0, 64),
        core.uniform_bits(KEY, 1, 0, 1, 64),
        core.uniform_bits(KEY + 1, 1, 0, 0, 64),
        core.uniform_bits(KEY ^ 1 << 63, 1, 0, 0, 64),
    ]
    for other in others:
        assert (base == other).sum() == 0
    for halves in ("upper", "lower"):
        shift = 16 if halves == "upper" else 0
        base, *others = (
            core.bit_words(key, purpose, step, row, 64) >> shift & 0xFFFF
            for key, purpose, step, row in (
                (KEY, 1, 0, 0), (KEY, 2, 0, 0), (KEY, 1, 1, 0), (KEY, 1, 0, 1), (KEY + 1, 1, 0, 0)
            )
        )  # fmt: skip
        assert max((base == other).sum() for other in others) < 3  # 64 halves: each by 2^-16


@pytest.mark.parametrize("n", [1, 2, 3, 10, 257])
def test_permutation(n):
    """Fisher-Yates on the stated words, and every epoch another one."""
    shuffle = philox.PURPOSES["SHUFFLE"]
    for epoch in (1, 2, 3):
        order = core.permutation(KEY, shuffle, epoch, n)
        np.testing.assert_array_equal(order, philox.permutation(KEY, "SHUFFLE", epoch, n))
    if n > 9:
        assert (core.permutation(KEY, shuffle, 1, n) != core.permutation(KEY, shuffle, 2, n)).any()


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_choice(n):
    """The last places of the permutation."""
    shuffle = philox.PURPOSES["SHUFFLE"]
    order = philox.permutation(KEY, "SHUFFLE", 1, n)
    for n_chosen in {0, 1, n // 2, n - 1, n}:
        chosen = core.choice(KEY, shuffle, 1, n, n_chosen)
        np.testing.assert_array_equal(chosen, order[n - n_chosen :])
    with pytest.raises(ValueError, match="more than there are"):
        core.choice(KEY, shuffle, 1, n, n + 1)


def test_permutations_are_uniform():
    """All 120 orders of 5 rows."""
    shuffle = philox.PURPOSES["SHUFFLE"]
    orders = np.array([core.permutation(KEY, shuffle, e, 5) for e in range(24_000)])
    _, cells = np.unique(orders @ 5 ** np.arange(5), return_inverse=True)
    assert checks.chi_square(cells, np.full(120, 1 / 120)) > ALPHA


def test_normals():
    """The normals of initial weights: by inversion, from the words of one row."""
    for dtype in (np.float32, np.float64):
        z = core.normals(KEY, 10, 1_000_000, dtype)
        assert z.dtype == dtype
        cells = (stats.norm.cdf(z.astype(float)) * 1024).astype(int)
        assert checks.chi_square(cells, np.full(1024, 1 / 1024)) > ALPHA


# --------------------------------------------------------------------------------------- the keys


@pytest.mark.parametrize("seed", [0, 7, 2**100])
def test_key_is_the_contracts(seed):
    """default_rng(rng).integers(2**64, dtype=uint64), for every kind of rng."""
    expected = int(default_rng(seed).integers(2**64, dtype=np.uint64))
    for rng in (seed, SeedSequence(seed), PCG64(seed), default_rng(seed)):
        assert random.key(rng) == expected
    for bits in (np.random.MT19937, np.random.Philox, np.random.SFC64):
        expected = int(Generator(bits(seed)).integers(2**64, dtype=np.uint64))
        assert random.key(Generator(bits(seed))) == expected


def test_a_generator_advances_by_one_draw():
    ours, theirs = default_rng(3), default_rng(3)
    keys = [random.key(ours) for _ in range(3)]
    assert keys == [int(theirs.integers(2**64, dtype=np.uint64)) for _ in range(3)]
    assert ours.random() == theirs.random()


@pytest.mark.parametrize("rng", ["seed", 1.5, -1, [1, -2], np.random.RandomState(1)])
def test_bad_rng(rng):
    rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(2))
    if isinstance(rng, np.random.RandomState):
        # default_rng takes a RandomState's bit generator where NumPy does; else it is refused.
        with_numpy = _accepts(lambda: default_rng(rng))
        assert _accepts(lambda: rbm.sample_hidden([1, 1], rng=rng)) == with_numpy
        return
    with pytest.raises((TypeError, ValueError), match="rng"):
        rbm.sample_hidden([1, 1], rng=rng)


def _accepts(call):
    try:
        call()
    except (TypeError, ValueError):
        return False
    return True


# ----------------------------------------------------------------------- who repeats, who advances


def random_calls():
    """Every public function that takes rng, as functions of it."""
    layer = fastrbm.Gaussian(5)
    rbm = fastrbm.RBM(fastrbm.Spin(40), fastrbm.Gaussian(5), rng=1)
    data = np.where(np.random.default_rng(0).random((50, 40)) < 0.5, -1, 1)

    def train(rng):
        run = fastrbm.train_cd(data, n_hidden=3, n_epochs=1, batch_size=9, metrics=(), rng=rng)
        return run.model.weights

    return {
        "layer.sample": lambda rng: layer.sample(0.0, rng=rng),
        "RBM": lambda rng: fastrbm.RBM(fastrbm.Spin(4), fastrbm.Spin(3), rng=rng).weights,
        "sample_hidden": lambda rng: rbm.sample_hidden(data, rng=rng),
        "sample_visible": lambda rng: rbm.sample_visible(np.zeros((9, 5)), rng=rng),
        "sample": lambda rng: fastrbm.sample(rbm, n_chains=3, n_draws=2, rng=rng).visible,
        "train_cd": train,
        "pseudo_likelihood": lambda rng: fastrbm.pseudo_likelihood(
            rbm, data[:7], exact=False, rng=rng
        ),
    }


@pytest.mark.parametrize("name", random_calls())
def test_repeats_and_advances(name):
    """One int twice gives the same, one Generator twice does not, nor does None."""
    call = random_calls()[name]
    np.testing.assert_array_equal(call(1), call(1))
    assert np.any(call(1) != call(2))
    generator = default_rng(1)
    first = call(generator)
    np.testing.assert_array_equal(first, call(1))
    assert np.any(call(generator) != first)
    assert np.any(call(None) != call(None))


def test_no_global_state():
    """Neither NumPy's global generator is read nor is it moved."""
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for call in random_calls().values():
        call(None)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_two_sides_use_their_own_words():
    """One seed for sample_hidden and for sample_visible gives independent draws."""
    rbm = fastrbm.RBM(fastrbm.Bernoulli(64), fastrbm.Bernoulli(64), weights=np.zeros((64, 64)))
    zeros = np.zeros((200, 64))
    h, v = rbm.sample_hidden(zeros, rng=1), rbm.sample_visible(zeros, rng=1)
    cells = (2 * v + h).astype(int).ravel()
    assert checks.chi_square(cells, np.full(4, 0.25)) > ALPHA
