"""The RBM: energies and conditionals against the oracle, shapes, dtypes, ownership."""

import copy
import pickle

import adapters
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import checks, exact, models
from reference.checks import ALPHA

import fastrbm
from fastrbm import RBM, Bernoulli, Gaussian, Spin

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)
# Around the widths of tiles, words and vectors.
sizes = pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 1), (5, 3), (64, 17), (70, 130)])


def setting(visible, hidden, n_visible, n_hidden, dtype, n_rows=37):
    """A random model with its oracle (the same parameters, to the bit) and states."""
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)
    v = adapters.random_states(visible, n_rows, n_visible, seed=1).astype(dtype)
    h = adapters.random_states(hidden, n_rows, n_hidden, seed=2).astype(dtype)
    return rbm, adapters.to_oracle(rbm), v, h


# --------------------------------------------------------------------------- against the oracle


@pairs
@dtypes
@sizes
def test_energy(visible, hidden, n_visible, n_hidden, dtype):
    rbm, oracle, v, h = setting(visible, hidden, n_visible, n_hidden, dtype)
    ours = rbm.energy(v, h)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(
        ours, oracle.energy(v.astype(float), h.astype(float)), rtol=1e-12, atol=1e-11
    )


@pairs
@dtypes
@sizes
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_free_energy(visible, hidden, n_visible, n_hidden, dtype, beta):
    rbm, oracle, v, _ = setting(visible, hidden, n_visible, n_hidden, dtype)
    ours = rbm.free_energy(v, beta=beta)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(
        ours, oracle.free_energy(v.astype(float), beta), rtol=1e-12, atol=1e-11
    )


@pairs
@dtypes
@sizes
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_conditional_means(visible, hidden, n_visible, n_hidden, dtype, beta):
    rbm, oracle, v, h = setting(visible, hidden, n_visible, n_hidden, dtype)
    tolerance = {"rtol": 0, "atol": 5e-6 if dtype == "float32" else 1e-13}
    ours = rbm.mean_hidden(v, beta=beta)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, oracle.mean_hidden(v.astype(float), beta), **tolerance)
    ours = rbm.mean_visible(h, beta=beta)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, oracle.mean_visible(h.astype(float), beta), **tolerance)


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_free_energy_by_enumeration(visible, hidden):
    """F(v) = -log of the sum or integral over h of exp(-beta E(v, h))."""
    model = models.small_model(visible, hidden)
    rbm = adapters.to_rbm(model)
    for beta in (1.0, 0.5):
        both = exact.Exact(model, beta)
        for v in models.starts(visible, model.visible.n):
            energies = rbm.energy(np.repeat(v[None], len(both.h.points), 0), both.h.points)
            direct = -np.log(np.exp(-beta * energies + both.h.log_measure).sum())
            assert rbm.free_energy(v, beta=beta) == pytest.approx(direct, rel=1e-10)


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_conditional_draws(visible, hidden):
    """sample_hidden and sample_visible follow p(h|v) and p(v|h)."""
    model = models.small_model(visible, hidden)
    both, rbm, n = exact.Exact(model), adapters.to_rbm(model, "float32"), 200_000
    v = models.starts(visible, model.visible.n)[1]
    cells = both.h.cells_of(rbm.sample_hidden(np.repeat(v[None], n, 0), rng=3))
    assert checks.chi_square(cells, both.h.sum_cells(both.hidden_law(v), 0)) > ALPHA
    swapped = exact.Exact(model.swapped())
    h = models.starts(hidden, model.hidden.n)[2]
    cells = swapped.h.cells_of(rbm.sample_visible(np.repeat(h[None], n, 0), rng=4))
    assert checks.chi_square(cells, swapped.h.sum_cells(swapped.hidden_law(h), 0)) > ALPHA


@pairs
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_conditional_draws_at_beta(visible, hidden, beta):
    """Means of many draws at a temperature."""
    rbm, _, v, h = setting(visible, hidden, 5, 4, "float64", n_rows=1)
    n = 100_000
    for draw, mean, given_states in (
        (rbm.sample_hidden, rbm.mean_hidden, v),
        (rbm.sample_visible, rbm.mean_visible, h),
    ):
        drawn = draw(np.repeat(given_states, n, 0), rng=6, beta=beta)
        error = drawn.std(0) / np.sqrt(n)
        assert (np.abs(drawn.mean(0) - mean(given_states[0], beta=beta)) < 6.5 * error).all()
    if hidden == "gaussian":
        drawn = rbm.sample_hidden(np.repeat(v, n, 0), rng=6, beta=beta)
        variance = 1 / (beta * rbm.hidden.precision)
        np.testing.assert_allclose(drawn.var(0), variance, rtol=6.5 * np.sqrt(2 / n))


def test_pairs_that_are_symmetric():
    """Exchanging the two sides exchanges the conditionals and keeps the energy."""
    model = adapters.random_model("spin", "bernoulli", 9, 6)
    rbm, mirror = adapters.to_rbm(model), adapters.to_rbm(model.swapped())
    v, h = adapters.random_states("spin", 8, 9), adapters.random_states("bernoulli", 8, 6)
    np.testing.assert_allclose(rbm.energy(v, h), mirror.energy(h, v), rtol=1e-13)
    np.testing.assert_allclose(rbm.mean_hidden(v), mirror.mean_visible(v), rtol=1e-13)


@given(
    st.sampled_from(models.MIXED_PAIRS), st.integers(1, 70), st.integers(1, 70), st.integers(0, 99)
)
def test_free_energy_identities(pair, n_visible, n_hidden, seed):
    """A hidden unit without weights adds its own constant; permutations change nothing."""
    model = adapters.random_model(*pair, n_visible, n_hidden, seed)
    model.weights[:, -1] = 0
    rbm = adapters.to_rbm(model)
    v = adapters.random_states(pair[0], 3, n_visible, seed)
    order = np.random.default_rng(seed).permutation(n_hidden)
    permuted = adapters.to_rbm(
        exact.Model(model.visible, exact.take(model.hidden, order), model.weights[:, order])
    )
    np.testing.assert_allclose(rbm.free_energy(v), permuted.free_energy(v), rtol=1e-12, atol=1e-11)
    if n_hidden > 1:
        fewer = adapters.to_rbm(
            exact.Model(
                model.visible, exact.take(model.hidden, slice(0, -1)), model.weights[:, :-1]
            )
        )
        lone = rbm.hidden.cgf(0.0)[-1]
        difference = fewer.free_energy(v) - rbm.free_energy(v)
        np.testing.assert_allclose(difference, lone, rtol=1e-10, atol=1e-10)


# -------------------------------------------------------------------------------- kinds of input


def every_kind_of_input(states):
    """The same states in every form that the contract names, with a name each."""
    kinds = {}
    for dtype in ("int8", "int16", "int32", "int64", "float32", "float64", "float16"):
        kinds[dtype] = states.astype(dtype)
    if states.min() >= 0:
        for dtype in ("bool", "uint8", "uint16", "uint32", "uint64"):
            kinds[dtype] = states.astype(dtype)
    kinds["list"] = states.astype(int).tolist()
    kinds["Fortran order"] = np.asfortranarray(states)
    kinds["every second row"] = np.repeat(states, 2, axis=0)[::2]
    kinds["every second column"] = np.repeat(states, 2, axis=1)[:, ::2]
    kinds["reversed"] = states[::-1, ::-1].copy()[::-1, ::-1]
    kinds["transposed"] = states.T.copy().T
    kinds["big endian"] = states.astype(">f8")
    read_only = states.copy()
    read_only.flags.writeable = False
    kinds["read-only"] = read_only
    return kinds


@pytest.mark.parametrize("unit", ["bernoulli", "spin"])
def test_any_input_gives_the_same(unit, tmp_path):
    rbm, _, v, h = setting(unit, unit, 70, 9, "float64", n_rows=11)
    path = tmp_path / "states.npy"
    np.save(path, v)
    kinds = every_kind_of_input(v) | {"memmap": np.load(path, mmap_mode="r")}
    for name, kind in kinds.items():
        before = copy.deepcopy(kind)
        np.testing.assert_array_equal(rbm.free_energy(kind), rbm.free_energy(v), err_msg=name)
        np.testing.assert_array_equal(rbm.mean_hidden(kind), rbm.mean_hidden(v), err_msg=name)
        np.testing.assert_array_equal(rbm.energy(kind, h), rbm.energy(v, h), err_msg=name)
        np.testing.assert_array_equal(
            rbm.sample_hidden(kind, rng=1), rbm.sample_hidden(v, rng=1), err_msg=name
        )
        np.testing.assert_array_equal(np.asarray(kind), np.asarray(before), err_msg=name)


def test_real_inputs_of_any_layout():
    rbm, _, v, _ = setting("gaussian", "bernoulli", 33, 9, "float64", n_rows=6)
    for kind in (np.asfortranarray(v), np.repeat(v, 2, 1)[:, ::2], v[::-1].copy()[::-1]):
        np.testing.assert_allclose(rbm.free_energy(kind), rbm.free_energy(v), rtol=1e-14)
    whole = np.arange(66).reshape(2, 33)
    np.testing.assert_allclose(rbm.mean_hidden(whole), rbm.mean_hidden(whole.astype(float)))


@pairs
def test_one_row_and_no_rows(visible, hidden):
    rbm, _, v, h = setting(visible, hidden, 6, 4, "float32")
    assert np.ndim(rbm.energy(v[0], h[0])) == 0
    assert np.ndim(rbm.free_energy(v[0])) == 0
    assert rbm.energy(v[0], h[0]) == rbm.energy(v, h)[0]
    assert rbm.free_energy(v[0]) == rbm.free_energy(v)[0]
    assert rbm.mean_hidden(v[0]).shape == rbm.sample_hidden(v[0]).shape == (4,)
    assert rbm.mean_visible(h[0]).shape == rbm.sample_visible(h[0]).shape == (6,)
    none = np.empty((0, 6))
    assert rbm.free_energy(none).shape == (0,)
    assert rbm.mean_hidden(none).shape == rbm.sample_hidden(none).shape == (0, 4)


@pairs
def test_rows_do_not_see_each_other(visible, hidden):
    """Many rows at once (tiles, tables, threads) give what each gives alone, bit for bit."""
    rbm, _, v, h = setting(visible, hidden, 70, 67, "float32", n_rows=300)
    few = [0, 1, 150, 299]
    for function, states in (
        (rbm.free_energy, v), (rbm.mean_hidden, v), (rbm.mean_visible, h)
    ):  # fmt: skip
        whole = function(states)
        for row in few:
            np.testing.assert_array_equal(function(states[row : row + 1])[0], whole[row])


# ------------------------------------------------------------------------- construction and state


def test_dtype_rules():
    """dtype= if given; float32 or float64 as the weights came; else float64; float32 without."""
    v, h = Spin(2), Gaussian(1)
    for weights_dtype, dtype in (
        ("float32", "float32"), ("float64", "float64"), ("int32", "float64"), ("float16", "float64")
    ):  # fmt: skip
        assert RBM(v, h, weights=np.zeros((2, 1), weights_dtype)).dtype == dtype
    assert RBM(v, h, weights=[[0.0], [1.0]]).dtype == np.float64
    assert RBM(v, h).dtype == np.float32
    assert RBM(v, h, dtype="float64").dtype == np.float64
    rbm = RBM(v, h, weights=np.zeros((2, 1)), dtype=np.float32)
    assert rbm.dtype == rbm.weights.dtype == rbm.visible.bias.dtype == np.float32
    assert rbm.hidden.precision.dtype == np.float32


def test_random_weights_are_small_and_seeded():
    rbm = RBM(Spin(100), Gaussian(80), rng=1)
    assert rbm == RBM(Spin(100), Gaussian(80), rng=1)
    assert rbm != RBM(Spin(100), Gaussian(80), rng=2)
    assert rbm.weights.std() == pytest.approx(0.01, rel=0.03)
    assert abs(rbm.weights.mean()) < 5 * 0.01 / np.sqrt(8000)


def test_an_rbm_owns_its_arrays():
    visible, weights = Spin(2), np.ones((2, 1))
    rbm = RBM(visible, Gaussian(1), weights=weights)
    visible.bias[:] = 9
    weights[:] = 9
    assert (rbm.visible.bias == 0).all()
    assert (rbm.weights == 1).all()


def test_changes_in_place_are_seen():
    rbm = RBM(Spin(2), Spin(1), weights=[[0.0], [0.0]])
    rbm.weights[0, 0] = 2.0
    rbm.hidden.bias[0] = 0.5
    assert rbm.mean_hidden([1, 1])[0] == pytest.approx(np.tanh(2.5))
    rbm.visible.bias[:] = [0.25, 0.0]
    assert rbm.mean_visible([-1])[0] == pytest.approx(np.tanh(-1.75))
    rbm.weights = [[1.0], [-1.0]]
    assert rbm.mean_hidden([1, 1])[0] == pytest.approx(np.tanh(0.5))
    rbm.weights *= 2
    np.testing.assert_array_equal(rbm.weights, [[2], [-2]])


@pairs
def test_copies_and_equality(visible, hidden):
    rbm, _, _, _ = setting(visible, hidden, 4, 3, "float32")
    for twin in (rbm.copy(), copy.copy(rbm), copy.deepcopy(rbm), pickle.loads(pickle.dumps(rbm))):
        assert twin == rbm
        twin.weights[0, 0] += 0.25
        assert twin != rbm
    twin = rbm.copy()
    twin.visible.bias[0] += 1
    assert twin != rbm
    assert rbm.astype("float64") != rbm
    assert rbm.astype("float64").astype("float32") == rbm
    assert rbm != "a model"


def test_repr_names_the_layers():
    assert repr(RBM(Spin(784), Gaussian(10))) == "RBM(Spin(784), Gaussian(10), dtype=float32)"


@pytest.mark.parametrize("spoil", ["weights", "visible_bias", "precision"])
def test_a_spoilt_model_is_refused(spoil):
    """NaN, infinity or a negative precision written in place: an error, never a number."""
    rbm = RBM(Bernoulli(3), Gaussian(2), rng=1)
    if spoil == "weights":
        rbm.weights[0, 0] = np.nan
    elif spoil == "visible_bias":
        rbm.visible.bias[1] = np.inf
    else:
        rbm.hidden.precision[1] = -1
    v, h = [[1, 0, 0], [1, 1, 1]], [[0.5, 1.0], [0.0, 0.0]]
    calls = (
        lambda: rbm.mean_hidden(v), lambda: rbm.mean_visible(h), lambda: rbm.sample_hidden(v),
        lambda: rbm.sample_visible(h), lambda: rbm.free_energy(v), lambda: rbm.energy(v, h),
        lambda: fastrbm.pseudo_likelihood(rbm, v), lambda: fastrbm.sample(rbm, n_draws=1),
        lambda: fastrbm.train_cd(v, model=rbm), rbm.to_bytes,
    )  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="finite"):
            call()


@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "spin"), ("spin", "bernoulli")])
def test_log_z_at_beta_zero(visible, hidden):
    """Every state counts once: log Z(0) = (n_visible + n_hidden) log 2."""
    rbm, _, _, _ = setting(visible, hidden, 5, 4, "float32")
    v = exact.all_states(models.VALUES[visible], 5)
    log_z = np.logaddexp.reduce(-rbm.free_energy(v, beta=0))
    assert log_z == pytest.approx(9 * np.log(2), rel=1e-14)


def test_two_gaussian_layers_must_be_normalisable():
    """Refused when built, when assigned, and before sampling, even after changes in place."""
    layers = Gaussian(2, precision=[1.0, 4.0]), Gaussian(2)
    rbm = RBM(*layers, weights=[[0.9, 0.0], [0.0, 1.9]])
    with pytest.raises(ValueError, match="positive definite"):
        RBM(*layers, weights=[[1.0, 0.0], [0.0, 0.0]])
    before = rbm.copy()
    with pytest.raises(ValueError, match="positive definite"):
        rbm.weights = [[0.0, 0.0], [0.0, 2.0]]
    with pytest.raises(ValueError, match="positive definite"):
        rbm.visible.precision = [1.0, 3.0]
    assert rbm == before
    rbm.weights[0, 0] = 5.0
    with pytest.raises(ValueError, match="positive definite"):
        fastrbm.sample(rbm, n_chains=2, n_draws=1)


@pytest.mark.parametrize("scale", [0.2, 0.999, 1.001, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_normalisable_is_positive_definite(scale, seed):
    """The refusal agrees with the smallest eigenvalue of the joint precision."""
    rng = np.random.default_rng(seed)
    gv, gh = rng.uniform(0.3, 3, 6), rng.uniform(0.3, 3, 4)
    w = rng.normal(size=(6, 4))
    w *= scale / np.linalg.svd(w / np.sqrt(np.outer(gv, gh)), compute_uv=False).max()
    joint = np.block([[np.diag(gv), -w], [-w.T, np.diag(gh)]])
    layers = Gaussian(6, precision=gv), Gaussian(4, precision=gh)
    if np.linalg.eigvalsh(joint).min() > 0:
        RBM(*layers, weights=w)
    else:
        with pytest.raises(ValueError, match="positive definite"):
            RBM(*layers, weights=w)


def test_shape_attributes():
    rbm = RBM(Bernoulli(5), Spin(3))
    assert (rbm.n_visible, rbm.n_hidden, rbm.weights.shape) == (5, 3, (5, 3))
    assert isinstance(rbm.visible, Bernoulli)
    assert isinstance(rbm.hidden, Spin)
