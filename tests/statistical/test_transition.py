"""The sampler's laws after 1, 2 and 3 sweeps, in equilibrium, and from draw to draw.

Every test takes the sampler as an argument (see reference.checks): the package passes, and each
mutant, of the NumPy sampler or of the package's own call, fails. p-values below ALPHA fail.
"""

import adapters
import pytest
from reference import checks, gibbs, models
from reference.checks import ALPHA

N_CHAINS = {"float32": 1_000_000, "float64": 100_000}
N_MUTANT_CHAINS = 30_000
CLAMP = [False, True, False]

pairs = pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
dtypes = pytest.mark.parametrize("dtype", adapters.DTYPES)
# One pair of each kind of chain: on bits, through Gaussian units, and on Gaussian units.
kinds = pytest.mark.parametrize(
    ("visible", "hidden"),
    [("spin", "bernoulli"), ("bernoulli", "gaussian"), ("gaussian", "spin")],
)


def setting(visible, hidden):
    model = models.small_model(visible, hidden)
    return model, models.starts(visible, model.visible.n)


# ------------------------------------------------------------------------------------ the package


@pairs
@dtypes
def test_transition(visible, hidden, dtype):
    model, starts = setting(visible, hidden)
    assert checks.transition(adapters.sampler(dtype), model, starts, N_CHAINS[dtype]) > ALPHA


@pairs
@pytest.mark.parametrize("beta", [0.5, 1.6])
def test_transition_at_other_temperatures(visible, hidden, beta):
    model, starts = setting(visible, hidden)
    sampler = adapters.sampler("float32")
    assert checks.transition(sampler, model, starts[:2], 100_000, beta=beta) > ALPHA


@pairs
@dtypes
def test_transition_with_a_clamped_unit(visible, hidden, dtype):
    model, starts = setting(visible, hidden)
    clamp = CLAMP[: model.visible.n]
    sampler = adapters.sampler(dtype)
    assert checks.transition(sampler, model, starts, 100_000, clamp=clamp) > ALPHA


@pairs
@dtypes
def test_stationarity(visible, hidden, dtype):
    model, _ = setting(visible, hidden)
    assert checks.stationarity(adapters.sampler(dtype), model, N_CHAINS[dtype]) > ALPHA


@pairs
@pytest.mark.parametrize("thin", [1, 3])
def test_lag_one(visible, hidden, thin):
    model, _ = setting(visible, hidden)
    assert checks.lag_one(adapters.sampler("float32"), model, 250_000, thin) > ALPHA


@dtypes
@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_gaussian_gaussian(dtype, beta):
    model = models.small_model("gaussian", "gaussian")
    starts = models.starts("gaussian", 3)
    assert checks.linear(adapters.sampler(dtype), model, starts, 200_000, beta=beta) > ALPHA


# ------------------------------------------------------------- the NumPy sampler passes as well


@pairs
def test_reference_sampler_passes(visible, hidden):
    model, starts = setting(visible, hidden)
    assert checks.transition(gibbs.gibbs, model, starts, N_MUTANT_CHAINS) > ALPHA
    assert checks.stationarity(gibbs.gibbs, model, N_MUTANT_CHAINS) > ALPHA
    assert checks.lag_one(gibbs.gibbs, model, N_MUTANT_CHAINS, 2) > ALPHA


def test_reference_sampler_passes_with_gaussians():
    model = models.small_model("gaussian", "gaussian")
    assert checks.linear(gibbs.gibbs, model, models.starts("gaussian", 3), N_MUTANT_CHAINS) > ALPHA


# ---------------------------------------------------------------------------- mutants must fail


@kinds
@pytest.mark.parametrize("mutant", gibbs.SWEEP_MUTANTS, ids=lambda f: f.__name__)
def test_transition_finds(mutant, visible, hidden):
    model, starts = setting(visible, hidden)
    assert checks.transition(mutant, model, starts, N_MUTANT_CHAINS) < ALPHA


@kinds
@pytest.mark.parametrize("mutant", gibbs.CALL_MUTANTS, ids=lambda f: f.__name__)
def test_transition_finds_wrong_calls(mutant, visible, hidden):
    model, starts = setting(visible, hidden)
    sampler = mutant(adapters.sampler("float32"))
    assert checks.transition(sampler, model, starts, N_MUTANT_CHAINS) < ALPHA


@kinds
@pytest.mark.parametrize("mutant", [gibbs.clamp_forgotten, gibbs.clamp_unseen])
def test_transition_finds_wrong_clamps(mutant, visible, hidden):
    model, starts = setting(visible, hidden)
    clamp = CLAMP[: model.visible.n]
    assert checks.transition(mutant, model, starts, N_MUTANT_CHAINS, clamp=clamp) < ALPHA


@kinds
def test_transition_finds_a_forgotten_beta(visible, hidden):
    model, starts = setting(visible, hidden)
    mutant = gibbs.beta_forgotten
    assert checks.transition(mutant, model, starts, N_MUTANT_CHAINS, beta=0.5) < ALPHA


STATIONARITY_FINDS = (
    gibbs.same_uniform_for_v_and_h,
    gibbs.same_uniform_in_two_sweeps,
    gibbs.same_uniform_in_two_units,
    gibbs.wrong_sign,
    gibbs.start_returned(gibbs.gibbs),
)


@kinds
@pytest.mark.parametrize("mutant", STATIONARITY_FINDS, ids=lambda f: f.__name__)
def test_stationarity_finds(mutant, visible, hidden):
    model, _ = setting(visible, hidden)
    assert checks.stationarity(mutant, model, N_MUTANT_CHAINS) < ALPHA


LAG_FINDS = (
    gibbs.identity,
    gibbs.frozen_hidden,
    gibbs.frozen_visible,
    gibbs.same_uniform_in_two_sweeps,
    gibbs.wrong_sign,
    gibbs.one_sweep_more(gibbs.gibbs),
    gibbs.one_sweep_less(gibbs.gibbs),
)


@kinds
@pytest.mark.parametrize("mutant", LAG_FINDS, ids=lambda f: f.__name__)
def test_lag_one_finds(mutant, visible, hidden):
    model, _ = setting(visible, hidden)
    assert checks.lag_one(mutant, model, N_MUTANT_CHAINS, 2) < ALPHA


GAUSSIAN_MUTANTS = (*gibbs.SWEEP_MUTANTS, *(m(gibbs.gibbs) for m in gibbs.CALL_MUTANTS[:-1]))


@pytest.mark.parametrize("mutant", GAUSSIAN_MUTANTS, ids=lambda f: f.__name__)
def test_gaussian_gaussian_finds(mutant):
    model = models.small_model("gaussian", "gaussian")
    assert checks.linear(mutant, model, models.starts("gaussian", 3), N_MUTANT_CHAINS) < ALPHA
