"""fastrbm.sample: draw for draw against the oracle, schedules, starts, clamps, continuation."""

import adapters
import numpy as np
import pytest
from reference import checks, exact, gibbs, models
from reference.checks import ALPHA

import fastrbm
from fastrbm import RBM, Bernoulli, Gaussian, Spin, sample

pairs = pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)


def key_of(seed):
    return int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))


def setting(visible="spin", hidden="bernoulli", n_visible=20, n_hidden=10, dtype="float64"):
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)
    return rbm, adapters.random_states(visible, 6, n_visible, seed=3)


# ------------------------------------------------------------------ bit for bit, by the oracle


@pairs
@dtypes
@pytest.mark.parametrize(
    ("n_chains", "n_visible", "n_hidden"), [(1, 1, 1), (5, 20, 10), (33, 64, 65), (70, 130, 7)]
)
def test_draws_are_the_oracles(visible, hidden, dtype, n_chains, n_visible, n_hidden):
    """Whole runs agree: every bit of discrete units, Gaussian ones to rounding."""
    rbm = adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden), dtype)
    init = adapters.random_states(visible, n_chains, n_visible, seed=3).astype(dtype)
    schedule = {"n_draws": 3, "burn_in": 2, "thin": 2, "beta": 0.9}
    ours = sample(rbm, init=init, rng=6, **schedule)
    visible_draws, hidden_draws = gibbs.gibbs(
        adapters.to_oracle(rbm), init, seed=key_of(6), **schedule
    )
    tolerance = 2e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(ours.visible, visible_draws, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.hidden, hidden_draws, rtol=0, atol=tolerance)
    assert ours.visible.dtype == ours.hidden.dtype == ours.chains.dtype == dtype
    np.testing.assert_array_equal(ours.chains, ours.visible[:, -1])
    assert ours.step == 8
    assert ours.info["key"] == key_of(6)


def test_the_comparison_can_fail():
    """Another seed, or one more sweep, is another run."""
    rbm, init = setting()
    ours = sample(rbm, init=init, rng=6, burn_in=3, n_draws=1).visible
    theirs, _ = gibbs.gibbs(adapters.to_oracle(rbm), init, seed=key_of(7), burn_in=3)
    assert (ours != theirs).any()
    theirs, _ = gibbs.gibbs(adapters.to_oracle(rbm), init, seed=key_of(6), burn_in=4)
    assert (ours != theirs).any()


@pairs
@pytest.mark.parametrize(("n_chains", "n_visible"), [(6, 20), (150, 70)])
def test_clamped_draws_are_the_oracles(visible, hidden, n_chains, n_visible):
    """One mask for all chains, and one for each: over several blocks and words."""
    rbm, _ = setting(visible, hidden, n_visible)
    init = adapters.random_states(visible, n_chains, n_visible, seed=3)
    clamps = np.random.default_rng(0).random((n_chains, n_visible)) < 0.4
    for clamp in (clamps, clamps[0]):
        ours = sample(rbm, init=init, clamp=clamp, rng=2, burn_in=1, n_draws=2)
        theirs, hidden_draws = gibbs.gibbs(
            adapters.to_oracle(rbm), init, clamp=clamp, seed=key_of(2), burn_in=1, n_draws=2
        )
        np.testing.assert_allclose(ours.visible, theirs, rtol=0, atol=1e-10)
        np.testing.assert_allclose(ours.hidden, hidden_draws, rtol=0, atol=1e-10)


# --------------------------------------------------------------------------------------- schedules


@pairs
def test_schedules_are_parts_of_one_chain(visible, hidden):
    """Draw t is the state after burn_in + (t + 1) thin sweeps."""
    rbm, init = setting(visible, hidden)
    every = sample(rbm, init=init, rng=1, burn_in=0, thin=1, n_draws=12)
    for burn_in, thin, n_draws in ((0, 3, 4), (2, 1, 10), (5, 2, 3), (11, 1, 1), (0, 12, 1)):
        some = sample(rbm, init=init, rng=1, burn_in=burn_in, thin=thin, n_draws=n_draws)
        steps = burn_in + thin * np.arange(1, n_draws + 1) - 1
        np.testing.assert_array_equal(some.visible, every.visible[:, steps])
        np.testing.assert_array_equal(some.hidden, every.hidden[:, steps])


def test_a_draw_is_joint():
    """visible[c, t] was drawn given hidden[c, t]: with frozen couplings they agree."""
    rbm = RBM(Spin(4), Spin(4), weights=40.0 * np.eye(4))
    draws = sample(rbm, n_chains=50, n_draws=5, burn_in=0, beta=1.0, rng=1)
    np.testing.assert_array_equal(draws.visible, draws.hidden)


@pairs
@pytest.mark.parametrize("n_draws", [0, 10])
def test_continuation(visible, hidden, n_draws):
    """10 + 10 sweeps equal 20 bit for bit, also with nothing stored and through a clamp."""
    rbm, init = setting(visible, hidden)
    for clamp in (None, np.arange(20) < 5):
        schedule = {"burn_in": 10 - n_draws, "n_draws": n_draws, "clamp": clamp}
        half = sample(rbm, init=init, rng=1, **schedule)
        assert half.step == 10
        whole = sample(rbm, init=init, rng=1, burn_in=10, n_draws=10, clamp=clamp)
        rest = sample(rbm, init=half, burn_in=0, n_draws=10, clamp=clamp)
        np.testing.assert_array_equal(rest.visible, whole.visible)
        np.testing.assert_array_equal(rest.hidden, whole.hidden)
        assert rest.step == 20
        assert rest.info["key"] == half.info["key"]
        other = sample(rbm, init=half, burn_in=0, n_draws=10, clamp=clamp, rng=1)
        np.testing.assert_array_equal(other.visible, whole.visible)
        assert (sample(rbm, init=half, n_draws=1, rng=2).visible != rest.visible[:, :1]).any()


def test_int8_continuation():
    rbm, init = setting("bernoulli", "bernoulli")
    half = sample(rbm, init=init, rng=1, burn_in=0, n_draws=3, dtype=np.int8)
    assert half.chains.dtype == half.visible.dtype == half.hidden.dtype == np.int8
    rest = sample(rbm, init=half, burn_in=0, n_draws=3)
    whole = sample(rbm, init=init, rng=1, burn_in=0, n_draws=6)
    np.testing.assert_array_equal(rest.visible, whole.visible[:, 3:])


def test_chains_do_not_depend_on_their_number():
    """Chain c is chain c however many others run."""
    rbm, _ = setting("spin", "gaussian")
    init = adapters.random_states("spin", 200, 20)
    many = sample(rbm, init=init, rng=1, n_draws=3, burn_in=2)
    for n in (1, 7, 64):
        few = sample(rbm, init=init[:n], rng=1, n_draws=3, burn_in=2)
        np.testing.assert_array_equal(few.visible, many.visible[:n])
        np.testing.assert_array_equal(few.hidden, many.hidden[:n])


# ------------------------------------------------------------------------------------------ starts


@pairs
def test_start_from_the_biases(visible, hidden):
    """init=None: every visible unit from its own bias, at beta, on its own words."""
    rbm, _ = setting(visible, hidden)
    oracle = adapters.to_oracle(rbm)
    start_words = oracle.visible.words(key_of(4), "START", 0, np.arange(9))
    init = oracle.visible.draw(np.zeros((9, 20)), 0.7, start_words)
    run = {"burn_in": 0, "n_draws": 2, "beta": 0.7, "rng": 4}
    np.testing.assert_allclose(
        sample(rbm, n_chains=9, **run).visible, sample(rbm, init=init, **run).visible, atol=1e-10
    )


def test_start_is_a_draw_of_each_bias():
    rbm = RBM(Bernoulli(3, bias=[-1.0, 0.0, 2.0]), Bernoulli(2), weights=np.zeros((3, 2)))
    chains = sample(rbm, n_chains=200_000, n_draws=0, burn_in=0, rng=1).chains
    law = [1 - 0.26894142, 0.26894142]
    assert checks.chi_square(chains[:, 0].astype(int), np.array(law)) > ALPHA


def test_forms_of_init():
    rbm, init = setting()
    one = sample(rbm, init=init[0], rng=1, n_draws=2)
    assert one.visible.shape == (1, 2, 20)
    same = sample(rbm, init=init[0], n_chains=4, rng=1, n_draws=2)
    rows = sample(rbm, init=np.tile(init[0], (4, 1)), rng=1, n_draws=2)
    np.testing.assert_array_equal(same.visible, rows.visible)
    read_only = init.copy()
    read_only.flags.writeable = False
    for form in (
        read_only,
        init.tolist(),
        init.astype(np.int8),
        np.asfortranarray(init),
        init[:, ::-1][:, ::-1],
    ):
        np.testing.assert_array_equal(
            sample(rbm, init=form, rng=1, n_draws=2).visible,
            sample(rbm, init=init, rng=1, n_draws=2).visible,
        )
    assert sample(rbm, n_draws=1, burn_in=0).visible.shape == (100, 1, 20)


def test_init_and_clamp_are_not_changed():
    rbm, init = setting()
    clamp = np.arange(20) < 4
    before = init.copy()
    result = sample(rbm, init=init, clamp=clamp, n_draws=2, rng=1)
    np.testing.assert_array_equal(init, before)
    assert clamp.sum() == 4
    result.chains[:] = 0  # the result's own memory
    np.testing.assert_array_equal(init, before)


def test_nothing_to_do():
    rbm, init = setting()
    result = sample(rbm, init=init, n_draws=0, burn_in=0)
    assert result.visible.shape == (6, 0, 20)
    assert result.hidden.shape == (6, 0, 10)
    np.testing.assert_array_equal(result.chains, init)
    assert result.step == 0


# ------------------------------------------------------------------------------------ temperatures


@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "spin"), ("spin", "spin")])
def test_beta_zero_is_uniform(visible, hidden):
    model = models.small_model(visible, hidden)
    draws = sample(adapters.to_rbm(model), n_chains=50_000, n_draws=1, burn_in=0, beta=0, rng=1)
    both = exact.Exact(model, 0.0)
    cells = both.v.cells_of(draws.visible[:, 0]) * 8 + both.h.cells_of(draws.hidden[:, 0])
    assert checks.chi_square(cells, np.full(64, 1 / 64)) > ALPHA


def test_large_beta_finds_the_ground_state():
    rbm = RBM(Spin(5), Spin(5), weights=np.ones((5, 5)))
    init = np.array([[1, 1, 1, -1, 1], [-1, 1, -1, -1, -1]])
    chains = sample(rbm, init=init, beta=1e3, n_draws=0, burn_in=3).chains
    np.testing.assert_array_equal(chains, [[1] * 5, [-1] * 5])


# ----------------------------------------------------------------------- dtypes, observers, stops


@pairs
def test_int8_on_request(visible, hidden):
    """int8 applies where units are discrete; two continuous layers refuse it."""
    rbm, init = setting(visible, hidden)
    if visible == hidden == "gaussian":
        with pytest.raises(ValueError, match="int8"):
            sample(rbm, init=init, dtype=np.int8)
        return
    small, usual = (sample(rbm, init=init, rng=1, n_draws=2, dtype=t) for t in (np.int8, None))
    for unit, a, b in (
        (visible, small.visible, usual.visible),
        (hidden, small.hidden, usual.hidden),
    ):
        assert a.dtype == (np.float64 if unit == "gaussian" else np.int8)
        np.testing.assert_array_equal(a, b)


class Recorder:
    """An observer that keeps copies."""

    def start(self, rbm, n_chains, beta):
        self.seen, self.shape = [], (rbm.n_visible, n_chains, beta)

    def update(self, visible, hidden):
        self.seen.append((visible.copy(), hidden.copy()))

    def result(self):
        return len(self.seen)


def test_observers_see_every_draw():
    rbm, init = setting()
    recorder = Recorder()
    run = sample(rbm, init=init, n_draws=4, burn_in=1, rng=1, beta=0.5, observers=[recorder])
    assert run.observations == (4,)
    assert recorder.shape == (20, 6, 0.5)
    for t, (visible, hidden) in enumerate(recorder.seen):
        np.testing.assert_array_equal(visible, run.visible[:, t])
        np.testing.assert_array_equal(hidden, run.hidden[:, t])


def test_observers_without_storage():
    """n_draws=0 stores nothing and observes the same chain."""
    rbm, init = setting()
    stored = sample(rbm, init=init, n_draws=6, burn_in=0, rng=1)
    moments, energies = fastrbm.Moments(visible_products=True), fastrbm.Energies()
    run = sample(rbm, init=init, n_draws=0, burn_in=6, rng=1, observers=[moments, energies])
    v, h = stored.visible.reshape(-1, 20), stored.hidden.reshape(-1, 10)
    found = run.observations[0]
    np.testing.assert_allclose(found.visible, v.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.hidden, h.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.products, v.T @ h / len(v), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.visible_products, v.T @ v / len(v), rtol=1e-12, atol=1e-14)
    assert found.n_states == 36
    energy = rbm.energy(v, h).reshape(6, 6)
    np.testing.assert_allclose(run.observations[1], energy, rtol=1e-12)
    np.testing.assert_array_equal(run.chains, stored.chains)


def test_callback_stops_a_run():
    rbm, init = setting()
    whole = sample(rbm, init=init, n_draws=6, burn_in=2, rng=1)
    run = sample(rbm, init=init, n_draws=6, burn_in=2, rng=1, callback=lambda s: s.n_done == 3)
    np.testing.assert_array_equal(run.visible, whole.visible[:, :3])
    np.testing.assert_array_equal(run.chains, whole.visible[:, 2])
    assert run.step == 5
    rest = sample(rbm, init=run, n_draws=3, burn_in=0)
    np.testing.assert_array_equal(rest.visible, whole.visible[:, 3:])


def test_callback_sees_the_run():
    rbm, init = setting()
    seen = []
    sample(rbm, init=init, n_draws=3, thin=2, burn_in=1, rng=1,
           callback=lambda s: seen.append((s.n_done, s.n_total, s.step)))  # fmt: skip
    assert seen == [(1, 3, 3), (2, 3, 5), (3, 3, 7)]


def test_result_says_what_made_it():
    rbm, init = setting()
    result = sample(rbm, init=init, rng=1, n_threads=1)
    assert result.info["n_threads"] == 1
    assert result.info["simd"] in fastrbm.show_config(mode="dicts")["simd_available"]
    assert {"seconds", "versions", "key"} <= result.info.keys()
    assert repr(result).startswith("SampleResult(6 chains")
    result.info["versions"]["numpy"] = "edited"  # each result has its own
    assert sample(rbm, n_draws=0).info["versions"]["numpy"] == np.__version__


def test_exact_moments_of_a_long_run():
    """Time averages of a mixing chain agree with enumeration, within their own error."""
    model = models.small_model("spin", "gaussian")
    small = exact.Model(model.visible, model.hidden, 0.4 * model.weights)
    law = exact.Exact(small)
    run = sample(adapters.to_rbm(small), n_chains=400, n_draws=500, burn_in=50, rng=1)
    per_chain = run.visible.mean(1)
    error = per_chain.std(0) / np.sqrt(400)
    expected = law.joint.sum(1) @ law.v.points
    assert (np.abs(per_chain.mean(0) - expected) < 6 * error).all()
    assert (error < 0.01).all()


def test_a_layer_of_each_kind_is_left_as_it_is():
    rbm = RBM(Gaussian(3), Spin(2), rng=1)
    before = rbm.copy()
    sample(rbm, n_chains=3, n_draws=2)
    assert rbm == before
