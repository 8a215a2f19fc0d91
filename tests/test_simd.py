"""Every SIMD level of this machine against the plain one."""

import adapters
import numpy as np
import pytest
from reference import models

import fastrbm
from fastrbm import _lib, sample, train_cd

LEVELS = _lib.simd_levels()
levels = pytest.mark.parametrize("level", LEVELS[1:] or ["no other level"])
pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)


@pytest.fixture(autouse=True)
def _needs_two_levels(level=None):
    if len(LEVELS) < 2:
        pytest.skip("this machine has the plain level only")


def at(level, function):
    with _lib.use_simd(level):
        assert _lib.simd_level() == level
        return function()


def tolerance(dtype):
    return {"rtol": 0, "atol": 2e-5 if dtype == "float32" else 1e-12}


@levels
@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize("unit", models.UNITS)
@pytest.mark.parametrize("n", [1, 7, 16, 63, 64, 65, 200])
def test_layers(level, dtype, unit, n):
    rng = np.random.default_rng(n)
    x = rng.normal(0, 3, (19, n))
    kinds = {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin, "gaussian": fastrbm.Gaussian}
    layer = kinds[unit](n, bias=rng.normal(size=n).astype(dtype))
    for function in (layer.mean, layer.variance, layer.cgf, lambda x: layer.sample(x, rng=2)):
        plain, fast = (at(name, lambda f=function: f(x)) for name in (LEVELS[0], level))
        np.testing.assert_allclose(fast, plain, **tolerance(dtype))


@levels
@pairs
@pytest.mark.parametrize("dtype", adapters.DTYPES)
@pytest.mark.parametrize(
    ("n_visible", "n_hidden", "n_rows"), [(1, 1, 1), (20, 10, 5), (65, 130, 33), (101, 37, 70)]
)
def test_models(level, visible, hidden, dtype, n_visible, n_hidden, n_rows):
    """Energies, means and whole chains: the same words, so the same states."""
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)
    v = adapters.random_states(visible, n_rows, n_visible).astype(dtype)
    h = adapters.random_states(hidden, n_rows, n_hidden).astype(dtype)
    for function in (
        lambda: rbm.free_energy(v),
        lambda: rbm.energy(v, h),
        lambda: rbm.mean_hidden(v),
        lambda: rbm.mean_visible(h),
    ):
        plain, fast = at(LEVELS[0], function), at(level, function)
        np.testing.assert_allclose(fast, plain, rtol=0, atol=tolerance(dtype)["atol"] * n_visible)

    def run():
        return sample(rbm, init=v, n_draws=3, burn_in=1, rng=1)

    plain, fast = at(LEVELS[0], run), at(level, run)
    # Fields differ by rounding, so a unit within it of its threshold may flip: none does here.
    slack = 5e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(fast.visible, plain.visible, rtol=0, atol=slack)
    np.testing.assert_allclose(fast.hidden, plain.hidden, rtol=0, atol=slack)


@levels
@pairs
@pytest.mark.parametrize("persistent", [False, True])
def test_training(level, visible, hidden, persistent):
    """In float64 rounding stays far from flipping a unit: the same updates."""
    data = adapters.random_states(visible, 71, 65, seed=1)
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, 65, 33), "float64")

    def run():
        return train_cd(
            data, model=rbm, persistent=persistent, n_epochs=2, batch_size=13, k=2,
            learning_rate=0.01, max_norm=3.0, rng=1, metrics=("reconstruction_error",),
        )  # fmt: skip

    plain, fast = at(LEVELS[0], run), at(level, run)
    for find in (lambda m: m.weights, lambda m: m.visible.bias, lambda m: m.hidden.bias):
        np.testing.assert_allclose(find(fast.model), find(plain.model), rtol=0, atol=1e-10)
    for name in ("reconstruction_error", "update_norm"):
        np.testing.assert_allclose(fast.history[name], plain.history[name], rtol=1e-8)
    assert fast.info["simd"] == level


@levels
def test_words_are_the_same_at_every_level(level):
    """Bernoulli units without fields show the first bit of each word."""
    layer = fastrbm.Bernoulli(301)
    x = np.zeros((50, 301))
    plain, fast = (at(name, lambda: layer.sample(x, rng=1)) for name in (LEVELS[0], level))
    np.testing.assert_array_equal(fast, plain)


@levels
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 6, 9, 100])
def test_densities(level, density, n_rows):
    """Sparse and dense bits, few and many rows: whatever path a kernel takes."""
    rng = np.random.default_rng(0)
    v = (rng.random((n_rows, 130)) < density).astype(np.int8)
    rbm = adapters.to_rbm(adapters.random_model("bernoulli", "bernoulli", 130, 70), "float64")
    plain, fast = (at(name, lambda: rbm.mean_hidden(v)) for name in (LEVELS[0], level))
    np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-13)
    oracle = adapters.to_oracle(rbm)
    np.testing.assert_allclose(fast, oracle.mean_hidden(v.astype(float)), rtol=0, atol=1e-13)


def test_levels_are_listed_plain_first():
    assert LEVELS[0] == "baseline"
    assert _lib.simd_level() in LEVELS
    assert fastrbm.show_config(mode="dicts")["simd_available"] == list(LEVELS)


PRINT_LEVEL = """
import fastrbm
rbm = fastrbm.RBM(fastrbm.Spin(3), fastrbm.Spin(2))
print(fastrbm.sample(rbm, n_draws=1).info["simd"])
"""


@pytest.mark.parametrize("level", LEVELS)
def test_forced_by_the_environment(level, python):
    assert python(PRINT_LEVEL, env={"FASTRBM_SIMD": level}).stdout == level + "\n"


def test_an_unknown_level_is_refused(python):
    run = python(PRINT_LEVEL, env={"FASTRBM_SIMD": "v9"})
    assert run.returncode != 0
    assert "FASTRBM_SIMD" in run.stderr
    assert "ValueError" in run.stderr
    assert "baseline" in run.stderr


def test_an_unknown_level_by_hand():
    with pytest.raises(ValueError, match="baseline"), _lib.use_simd("v9"):
        pass
