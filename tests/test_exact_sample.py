"""exact_sample: shapes, types, seeds and arguments; its law is tested in statistical/."""

import adapters
import numpy as np
import pytest
from reference import models

import fastrbm
from fastrbm import _lib, exact_sample

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)


def small(visible, hidden, dtype="float64"):
    return adapters.to_rbm(adapters.random_model(visible, hidden, 7, 6, scale=0.6), dtype)


@pairs
@dtypes
@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_shapes_and_types(visible, hidden, dtype, n):
    rbm = small(visible, hidden, dtype)
    before = rbm.copy()
    v, h = exact_sample(rbm, n, rng=1)
    assert v.shape == (n, 7)
    assert h.shape == (n, 6)
    assert v.dtype == h.dtype == dtype
    assert rbm == before
    for states, unit in ((v, visible), (h, hidden)):
        if unit == "gaussian":
            assert np.isfinite(states).all()
        else:
            assert np.isin(states, models.VALUES[unit]).all()


@pairs
def test_int8_where_states_are_discrete(visible, hidden):
    rbm = small(visible, hidden)
    wide = exact_sample(rbm, 50, rng=1)
    if visible == hidden == "gaussian":
        with pytest.raises(ValueError, match="dtype"):
            exact_sample(rbm, 50, rng=1, dtype=np.int8)
        return
    narrow = exact_sample(rbm, 50, rng=1, dtype=np.int8)
    for a, b, unit in zip(narrow, wide, (visible, hidden), strict=True):
        assert a.dtype == (np.float64 if unit == "gaussian" else np.int8)
        np.testing.assert_array_equal(a, b)


@pairs
def test_seeds(visible, hidden):
    """An int repeats, another int differs, a Generator advances, None is fresh."""
    rbm = small(visible, hidden)

    def draw(rng):
        return np.concatenate(exact_sample(rbm, 200, rng=rng), axis=1)

    first = draw(1)
    np.testing.assert_array_equal(draw(1), first)
    assert (draw(2) != first).any()
    np.testing.assert_array_equal(draw(np.random.default_rng(1)), first)
    generator = np.random.default_rng(1)
    np.testing.assert_array_equal(draw(generator), first)
    assert (draw(generator) != first).any()
    np.testing.assert_array_equal(draw(np.random.SeedSequence(1)), draw(np.random.SeedSequence(1)))
    assert (draw(None) != draw(None)).any()


@pairs
def test_more_draws_begin_with_the_same(visible, hidden):
    """Row i depends on the key and on i alone."""
    rbm = small(visible, hidden)
    few, many = exact_sample(rbm, 10, rng=3), exact_sample(rbm, 5000, rng=3)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:10])


@pairs
def test_threads_and_levels(visible, hidden):
    """The same draws with any number of threads; between SIMD levels single units may flip."""
    rbm = small(visible, hidden)
    runs = [exact_sample(rbm, 3000, rng=3, n_threads=n_threads) for n_threads in (1, 2, 3, 7)]
    for run in runs[1:]:
        for a, b in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(a, b)
    for level in _lib.simd_levels():
        with _lib.use_simd(level):
            for a, b in zip(exact_sample(rbm, 3000, rng=3), runs[0], strict=True):
                assert np.mean(np.abs(a - b) > 1e-9) < 1e-3


def test_draws_differ_from_the_sampler_of_chains():
    """One seed gives other numbers in sample and exact_sample: their counters are not shared."""
    rbm = fastrbm.RBM(fastrbm.Spin(40), fastrbm.Spin(6), weights=np.zeros((40, 6)))
    v, h = exact_sample(rbm, 500, rng=3)
    chains = fastrbm.sample(rbm, n_chains=500, n_draws=1, burn_in=0, rng=3)
    assert 0.45 < np.mean(v == chains.visible[:, 0]) < 0.55
    assert 0.4 < np.mean(h == chains.hidden[:, 0]) < 0.6
    assert 0.4 < np.mean(v[:, :6] == h) < 0.6


@pytest.mark.parametrize("n", [-1, 2.5, True, None, "3", np.nan])
def test_bad_n(n):
    with pytest.raises((ValueError, TypeError), match="n must"):
        exact_sample(small("spin", "spin"), n)


@pytest.mark.parametrize("beta", [-1.0, np.nan, np.inf, "1", True])
def test_bad_beta(beta):
    with pytest.raises((ValueError, TypeError), match="beta"):
        exact_sample(small("spin", "spin"), 3, beta=beta)


def test_beta_zero():
    """Fair coins, whatever the model."""
    v, h = exact_sample(small("spin", "bernoulli"), 20_000, rng=1, beta=0.0)
    assert np.abs(v.mean(0)).max() < 0.05
    assert np.abs(h.mean(0) - 0.5).max() < 0.025


def test_too_large():
    """Refused before any work, as log_partition refuses."""
    rbm = fastrbm.RBM(fastrbm.Bernoulli(200), fastrbm.Bernoulli(90), weights=None, rng=1)
    with pytest.raises(fastrbm.TooLarge, match="split"):
        exact_sample(rbm, 3)
