"""Flows: every property for every family, at parameters of order one; then what each has alone.

The properties are in flow_cases.py; test_flow_mutants.py asks them of broken copies.
"""

import copy
import json
import math
import pickle

import flow_cases as cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, log_expit
from threadpoolctl import threadpool_limits

from fastrbm import flows
from fastrbm.flows import roots
from fastrbm.flows.numerics import inverse_softplus, softplus

SETTINGS = cases.SETTINGS
every = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def some(condition):
    """The settings (case, dim, context_dim) that fulfil a condition, as a parametrisation."""
    chosen = {name: setting for name, setting in SETTINGS.items() if condition(name, *setting)}
    return pytest.mark.parametrize("setting", chosen.values(), ids=chosen)


# One dimension without and five with a context: what is left out is between the two.
for_gradients = some(
    lambda name, case, dim, context_dim: (
        (dim == 1 and not context_dim)
        or (dim == case.dims[-1] and context_dim == case.context_dims[-1])
    )
)
#: Bijections of all of R^dim onto their range: with the normal base they are densities.
densities = some(
    lambda name, case, dim, context_dim: (
        case.everywhere and dim <= 2 and context_dim == case.context_dims[0]
    )
)


def subject_of(setting, **options):
    case, dim, context_dim = setting
    return case.subject(dim, context_dim, **options)


def flow_and_context(setting, n=None):
    """A flow with parameters of order one, and one context, or n of them, or None."""
    case, dim, context_dim = setting
    shape = (context_dim,) if n is None else (n, context_dim)
    context = np.random.default_rng(21).standard_normal(shape) if context_dim else None
    return case.flow(dim, context_dim), context


# -------------------------------------------------------------------- every family, every direction


@every
def test_round_trip(setting):
    cases.round_trip(subject_of(setting, n=50))


@every
def test_log_dets_cancel(setting):
    cases.log_dets_cancel(subject_of(setting, n=50))


@every
def test_log_det_is_of_the_jacobian(setting):
    cases.log_det_is_of_the_jacobian(subject_of(setting))


@for_gradients
def test_gradients_of_inputs(setting):
    cases.inputs_get_gradients(subject_of(setting))


@for_gradients
def test_gradients_of_parameters(setting):
    cases.parameters_get_gradients(subject_of(setting))


@every
def test_vjps_are_linear(setting):
    cases.vjps_are_linear(subject_of(setting))


@every
def test_gradients_of_there_and_back(setting):
    cases.gradients_of_there_and_back(subject_of(setting))


@every
def test_nothing_changes(setting):
    cases.nothing_changes(subject_of(setting))


@every
def test_rows_stand_alone(setting):
    cases.rows_stand_alone(subject_of(setting))


@every
def test_no_rows(setting):
    cases.no_rows(subject_of(setting))


@every
def test_single_precision(setting):
    cases.single_precision(subject_of(setting))


# ------------------------------------------------------------------------------ densities and draws


@densities
def test_integral(setting):
    """Of the density over the line or the plane, on a chart of it where it ends."""
    case, dim, _ = setting
    flow, context = flow_and_context(setting)
    if dim == 1:
        cases.integrates_to_one(flow, 1e-7, 60_000, context, case.chart)
    elif "LeakyReLU" in repr(flow):  # jumps along lines that the grid knows
        cases.integrates_to_one(flow, 1e-6, 600, context, case.chart)
    else:
        cases.integrates_to_one(flow, 1e-4 if case.kinks else 1e-6, None, context, case.chart)


@pytest.mark.parametrize("name", ["planar", "radial", "real_nvp", "maf-tanh", "iaf", "nsf"])
def test_integral_with_a_context(name):
    flow, context = flow_and_context((cases.CASES[name], 1, 3))
    cases.integrates_to_one(flow, 1e-6, 60_000, context)
    cases.integrates_to_one(flow, 1e-6, 60_000, -2 * context)


@densities
def test_draws(setting):
    flow, context = flow_and_context(setting)
    cases.draws_follow_the_density(flow, context)


@pytest.mark.parametrize("name", ["planar", "real_nvp", "maf-tanh", "nsf-autoregressive"])
def test_cells(name):
    cases.cells_hold_their_share(cases.CASES[name].flow(2))


MIXTURE = ([[-2.0, 0.5], [1.5, 1.0], [0.0, -2.0]], [[0.5, 0.8], [0.6, 0.4], [1.0, 0.7]])
BASES = {
    "diagonal": flows.Normal(2, [1.0, -0.5], [0.4, 2.0]),
    "mixture": flows.GaussianMixture(*MIXTURE, weights=[0.2, 0.5, 0.3]),
    "equal mixture": flows.GaussianMixture(MIXTURE[0], 0.7),
}
bases = pytest.mark.parametrize("base", BASES.values(), ids=BASES)


@bases
@pytest.mark.parametrize("name", ["planar", "real_nvp-tanh", "iaf-tanh"])
def test_integral_with_other_bases(name, base):
    flow = flows.Flow(cases.CASES[name].flow(2).bijection, base)
    cases.integrates_to_one(flow, 1e-6)
    cases.cells_hold_their_share(flow)


@bases
def test_bases(base):
    """Scores are gradients; draws follow the density; types and single rows are kept."""
    z = np.random.default_rng(1).normal(size=(20, 2))
    moved = [cases.Differences(lambda t, d=d: base.log_prob(z + t * d)[:, None]) for d in np.eye(2)]
    slope = np.concatenate([m.slope for m in moved], axis=1)
    np.testing.assert_allclose(base.score(z), slope, rtol=0, atol=1e-9)
    assert base.log_prob(z[0]).shape == ()
    assert base.score(z[0]).shape == (2,)
    narrow = z.astype(np.float32)
    assert base.log_prob(narrow).dtype == base.score(narrow).dtype == np.float32
    np.testing.assert_allclose(base.log_prob(narrow), base.log_prob(z), rtol=1e-5)
    identity = flows.Flow(flows.Permutation([0, 1]), base)
    cases.cells_hold_their_share(identity)
    np.testing.assert_array_equal(identity.log_prob(z), base.log_prob(z))


UNIFORM_CASES = ["Elementwise-Affine", "Elementwise-RationalQuadratic", "Elementwise-Arcsinh"]


@pytest.mark.parametrize("name", UNIFORM_CASES)
def test_uniform_base(name):
    """An elementwise map makes a box of a box: the mass is inside, and nothing is outside."""
    low, high = np.array([-1.5, 0.5]), np.array([0.5, 2.0])
    flow = flows.Flow(cases.CASES[name].flow(2).bijection, flows.Uniform(low, high))
    first, last = flow.forward([low, high])[0]
    # Of even size, with kinks: the middle of many small squares.
    n = 1000
    axes = [np.linspace(a, b, 2 * n + 1)[1::2] for a, b in zip(first, last, strict=True)]
    p = np.exp(flow.log_prob(cases.product(*axes)))
    assert p.sum() * np.prod((last - first) / n) == pytest.approx(1, abs=1e-5)
    outside = cases.product(
        *([a - 1e-9, (a + b) / 2, b + 1e-9] for a, b in zip(first, last, strict=True))
    )
    values = flow.log_prob(outside)
    assert np.isfinite(values[4])
    assert (np.delete(values, 4) == -np.inf).all()
    draws, log_q = flow.sample_and_log_prob(1000, rng=1)
    assert ((first <= draws) & (draws <= last)).all()
    np.testing.assert_allclose(log_q, flow.log_prob(draws), atol=1e-9)


@pytest.mark.parametrize(
    ("bijection", "base", "law"),
    [
        (flows.Elementwise(1, flows.Exp()), None, stats.lognorm(1)),
        (flows.Invert(flows.Elementwise(1, flows.Sigmoid())), flows.Uniform([0.0], [1.0]),
         stats.logistic()),
        (flows.Invert(flows.Elementwise(1, flows.Arcsinh())), None,
         stats.johnsonsu(0, 1)),
        (flows.Elementwise(1, flows.Sigmoid()), None, stats.johnsonsb(0, 1)),
        (flows.Permutation([0]), flows.Normal(1, 3.0, 0.2), stats.norm(3, 0.2)),
    ],
    ids=["log-normal", "logistic", "Johnson SU", "Johnson SB", "normal"],
)  # fmt: skip
def test_laws_with_names(bijection, base, law):
    flow = flows.Flow(bijection, base)
    x = law.ppf(np.linspace(0.001, 0.999, 101))
    np.testing.assert_allclose(flow.log_prob(x[:, None]), law.logpdf(x), rtol=1e-12, atol=1e-12)
    assert stats.kstest(flow.sample(4000, rng=1)[:, 0], law.cdf).pvalue > 1e-6


def test_nll_is_the_mean():
    flow, _ = flow_and_context((cases.CASES["real_nvp"], 2, 0))
    x = np.random.default_rng(0).normal(size=(5000, 2))  # more than a block
    assert type(flow.nll(x)) is float
    assert flow.nll(x) == pytest.approx(-flow.log_prob(x).mean(), rel=1e-14)
    assert flow.nll(x) == pytest.approx(flow.nll_and_grad(x)[0], rel=1e-14)
    assert flow.nll(x[0]) == pytest.approx(-flow.log_prob(x[0]), rel=1e-15)
    assert math.isnan(flow.nll(x[:0]))
    identity = flows.Flow(flows.Permutation([0, 1]))
    assert identity.nll(x) == pytest.approx(-flows.Normal(2).log_prob(x).mean(), rel=1e-14)


@some(
    lambda name, case, dim, c: (
        case.everywhere and case.onto and dim == 2 and c == case.context_dims[-1]
    )
)
def test_gradient_of_nll(setting):
    """By all parameters at once, in the order of `ravel`; of the same rows in blocks as well."""
    flow, _ = flow_and_context(setting)
    s = subject_of(setting, n=30)
    theta, generator = flow.ravel(), np.random.default_rng(5)
    d = generator.standard_normal(theta.shape) / np.sqrt(max(theta.size, 1))

    def values(t):
        flow.unravel(theta + t * d)
        answer = flow.log_prob(s.x, context=s.context)[:, None]
        flow.unravel(theta)
        return answer

    moved = cases.Differences(values)
    kept = s.rows(moved.smooth)
    nll, gradient = flow.nll_and_grad(kept.x, context=kept.context)
    assert nll == pytest.approx(flow.nll(kept.x, context=kept.context), rel=1e-13)
    assert gradient.shape == theta.shape
    assert gradient @ d == pytest.approx(-moved.slope[moved.smooth].mean(), abs=1e-8)
    many = np.tile(kept.x, (200, 1))
    context = None if kept.context is None else np.tile(kept.context, (200, 1))
    np.testing.assert_allclose(
        flow.nll_and_grad(many, context=context)[1], gradient, rtol=0, atol=1e-11
    )


class Laplace:
    """A base of a user's own: no score, no module."""

    dim = 2

    def log_prob(self, z):
        return -np.abs(np.asarray(z) - 20).sum(axis=1) - 2 * math.log(2)

    def sample(self, n, rng=None):
        return 20 + np.random.default_rng(rng).laplace(size=(n, 2))


class Scoreless:
    """Another base without its score."""

    def __init__(self, base):
        self.dim, self.log_prob, self.sample = base.dim, base.log_prob, base.sample


def test_bases_of_ones_own():
    bijection = cases.CASES["planar"].flow(2).bijection
    flow = flows.Flow(bijection, Laplace())
    draws, log_q = flow.sample_and_log_prob(1000, rng=3)
    np.testing.assert_allclose(log_q, flow.log_prob(draws), atol=1e-9)
    assert stats.kstest(flow.inverse(draws)[0][:, 0] - 20, "laplace").pvalue > 1e-6


@pytest.mark.parametrize("base", [flows.Normal(2), BASES["mixture"]], ids=["normal", "mixture"])
def test_bases_without_a_score(base):
    """Differences of log_prob take its place."""
    bijection = cases.CASES["planar"].flow(2).bijection
    x = np.random.default_rng(4).normal(size=(50, 2))
    expected = flows.Flow(bijection, base).nll_and_grad(x)[1]
    plain = flows.Flow(bijection, Scoreless(base))
    np.testing.assert_allclose(plain.nll_and_grad(x)[1], expected, rtol=0, atol=1e-9)
    narrow = flows.Flow(bijection.astype("float32"), Scoreless(base))
    np.testing.assert_allclose(narrow.nll_and_grad(x)[1], expected, rtol=0, atol=2e-3)
    assert narrow.nll_and_grad(x)[1].dtype == np.float32


def test_scores_are_used():
    """Where a base has one, it is asked."""
    calls = []

    class Scored(Scoreless):
        def score(self, z):
            calls.append(len(z))
            return -z

    flows.Flow(flows.LULinear(2), Scored(flows.Normal(2))).nll_and_grad(np.ones((3, 2)))
    assert sum(calls) == 3


# -------------------------------------------------------------------------------------- composition


def test_chain_is_its_layers_in_turn():
    s = cases.LAYERS["Chain"].subject(3)
    chain = s.bijection
    y, total = s.x, 0.0
    for layer in chain.layers:
        y, log_det = layer.forward(y)
        total = total + log_det
    found = chain.forward(s.x)
    np.testing.assert_array_equal(found[0], y)
    np.testing.assert_allclose(found[1], total, rtol=0, atol=1e-14)
    x, total = s.y, 0.0
    for layer in reversed(chain.layers):
        x, log_det = layer.inverse(x)
        total = total + log_det
    found = chain.inverse(s.y)
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_allclose(found[1], total, rtol=0, atol=1e-14)
    names = [name for i, layer in enumerate(chain.layers) for name in layer.parameters]
    assert [name.split(".", 1)[1] for name in chain.parameters] == names


def test_a_chain_of_chains_is_a_chain():
    """However the layers are bracketed."""
    a, b, c = (cases.CASES[name].flow(2).bijection for name in ("Planar", "LULinear", "Radial"))
    nested = flows.Chain([flows.Chain([a, b]), flows.Chain([c])])
    x = np.random.default_rng(0).normal(size=(9, 2))
    for side in ("forward", "inverse"):
        for found, expected in zip(
            getattr(nested, side)(x), getattr(flows.Chain([a, b, c]), side)(x), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_invert():
    s = cases.LAYERS["Coupling-Affine"].subject(5, 3)
    inverse = flows.Invert(s.bijection)
    assert flows.Invert(inverse) is s.bijection
    for one, other in (("forward", "inverse"), ("inverse", "forward")):
        found = getattr(inverse, one)(s.x, context=s.context)
        expected = getattr(s.bijection, other)(s.x, context=s.context)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert list(inverse.parameters) == [f"inverse.{name}" for name in s.bijection.parameters]
    twin = copy.deepcopy(inverse)
    assert twin.bijection is not inverse.bijection
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(inverse)).ravel(), inverse.ravel())


def test_parameters_are_the_layers_own():
    """Seen in place through any of the names; `ravel` is a copy, in the order of the names."""
    flow = cases.CASES["maf"].flow(2)
    name, array = next(iter(flow.parameters.items()))
    assert array is flow.bijection.layers[0].parameters[name.split(".", 1)[1]]
    before = flow.ravel()
    array += 1
    assert (flow.ravel() != before).sum() == array.size
    flow.unravel(before)
    np.testing.assert_array_equal(
        before, np.concatenate([a.ravel() for a in flow.parameters.values()])
    )
    assert flow.n_parameters == len(before)
    before[:] = 0
    assert flow.ravel().any()
    assert flow.unravel(before.tolist()) is None


# ---------------------------------------------------------------------------------- kinds of inputs


@pytest.mark.parametrize("name", ["planar", "real_nvp", "maf", "nsf", "radial"])
def test_kinds_of_arrays(name):
    """Whatever holds the numbers: the same answer, and float64."""
    flow = cases.CASES[name].flow(2, 3)
    x, context = np.arange(-4, 4).reshape(4, 2), np.arange(12).reshape(4, 3) % 3
    expected = flow.inverse(x.astype(float), context=context.astype(float))
    spread, read_only = np.zeros((8, 4)), x.astype(float)
    spread[::2, ::2] = x
    read_only.setflags(write=False)
    kinds = [
        x, x.tolist(), x.astype(np.int8), x.astype(np.float32), x.astype(np.float16),
        x.astype(">f8"), np.asfortranarray(x, float), spread[::2, ::2], read_only,
        x.astype(float)[::-1][::-1], np.longdouble(x), tuple(map(tuple, x.tolist())),
    ]  # fmt: skip
    for kind in kinds:
        found = flow.inverse(kind, context=context.tolist())
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
        assert found[0].dtype == found[1].dtype == np.float64
        value = flow.log_prob(kind, context=np.asfortranarray(context))
        np.testing.assert_array_equal(value, flow.log_prob(x, context=context))
        flow.nll_and_grad(kind, context=context)
    assert flow.log_prob(x[0] > 0, context=context[0]).shape == ()


@some(lambda name, case, dim, context_dim: dim == 2 and case.everywhere and case.onto)
def test_densities_change_nothing(setting):
    """Neither rows nor flow, whatever is asked of it; and the answers stay."""
    flow, context = flow_and_context(setting, 6)
    x = np.random.default_rng(2).normal(size=(6, 2))
    kept = [x, *flow.parameters.values(), *flow.state.values()] + (
        [] if context is None else [context]
    )
    before = [array.tobytes() for array in kept]
    answers = flow.log_prob(x, context=context), flow.sample(6, rng=1, context=context)
    flow.nll(x, context=context)
    flow.nll_and_grad(x, context=context)
    drawn, log_q = flow.sample_and_log_prob(6, rng=1, context=context)
    for array in (drawn, log_q, flow.ravel()):
        array[...] = np.nan
    assert [array.tobytes() for array in kept] == before
    np.testing.assert_array_equal(flow.log_prob(x, context=context), answers[0])
    np.testing.assert_array_equal(flow.sample(6, rng=1, context=context), answers[1])


@pytest.mark.parametrize("name", cases.CONSTRUCTORS)
def test_single_precision_of_densities(name):
    case = cases.CASES[name]
    wide = case.flow(2)
    narrow = wide.astype("float32")
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    x = np.random.default_rng(2).normal(size=(50, 2))
    np.testing.assert_allclose(narrow.log_prob(x), wide.log_prob(x), rtol=2e-4, atol=2e-4)
    nll, gradient = narrow.nll_and_grad(x)
    assert type(nll) is float
    drawn, log_q = narrow.sample_and_log_prob(5, rng=1)
    for array in (
        narrow.log_prob(x),
        narrow.ravel(),
        gradient,
        drawn,
        log_q,
        narrow.log_prob(x[0]),
    ):
        assert array.dtype == np.float32
    np.testing.assert_allclose(drawn, wide.sample(5, rng=1), rtol=2e-3, atol=2e-3)
    for array in [*narrow.parameters.values(), *narrow.state.values()]:
        assert array.dtype == np.float32


@pytest.mark.parametrize(
    "constructor", ["planar", "radial", "nice", "real_nvp", "maf", "iaf", "nsf"]
)
def test_types_of_constructors(constructor):
    """dtype= gives the flow of dtype float64, rounded; and the same seed the same start."""
    make = getattr(flows, constructor)
    wide, narrow = (
        make(dim=3, depth=2, width=5, rng=7, dtype=kind) for kind in ("float64", "float32")
    )
    assert narrow.ravel().dtype == narrow.dtype == np.float32
    np.testing.assert_array_equal(wide.ravel().astype(np.float32), narrow.ravel())
    np.testing.assert_array_equal(wide.ravel(), make(dim=3, depth=2, width=5, rng=7).ravel())
    assert (make(dim=3, depth=2, width=5, rng=8).ravel() != wide.ravel()).any()
    generator = np.random.default_rng(7)
    first = make(dim=3, depth=2, width=5, rng=generator)
    np.testing.assert_array_equal(first.ravel(), wide.ravel())
    assert (make(dim=3, depth=2, width=5, rng=generator).ravel() != first.ravel()).any()


# ---------------------------------------------------------------------------------------- the start


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize("name", cases.CONSTRUCTORS)
def test_identity_at_the_start(name, dim, context_dim):
    cases.starts_as_identity(cases.CASES[name].build(dim, context_dim))


@pytest.mark.parametrize("name", ["planar", "radial", "nice", "real_nvp", "maf", "iaf", "nsf"])
def test_defaults_start_as_the_identity(name):
    cases.starts_as_identity(getattr(flows, name)(dim=3, rng=1))


@pytest.mark.parametrize("kind", [flows.Whitening, flows.ActNorm, flows.BatchNorm])
def test_what_fit_sets_is_the_identity_before(kind):
    """Asking a flow for anything does not count as data."""
    flow = flows.Flow(kind(2))
    x = 5 + np.random.default_rng(3).normal(size=(20, 2)) * [1, 10]
    before = {name: array.copy() for name, array in flow.state.items()}
    for _ in range(2):
        np.testing.assert_array_equal(flow.forward(x)[0], x)
        np.testing.assert_array_equal(flow.inverse(x)[0], x)
        np.testing.assert_array_equal(flow.inverse(x)[1], 0)
        flow.log_prob(x), flow.sample(3, rng=0), flow.nll_and_grad(x)
    assert {name: array.tolist() for name, array in flow.state.items()} == {
        name: array.tolist() for name, array in before.items()
    }
    flow.fit(x, n_epochs=0)
    assert (flow.inverse(x)[0] != x).all()


# -------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("name", cases.CONSTRUCTORS)
def test_seeds(name):
    cases.draws_repeat(*flow_and_context((cases.CASES[name], 2, 3)))


@pytest.mark.parametrize("name", ["planar", "real_nvp", "maf", "nsf"])
@pytest.mark.parametrize(("dim", "width", "n"), [(2, 8, 5000), (20, 64, 300)])
def test_threads_are_not_seen_in_the_bits(name, dim, width, n):
    """However many BLAS may use, in one block of rows and in many: densities, draws, gradients."""
    flow = cases.fill(getattr(flows, name)(dim, depth=2, width=width, rng=0))
    x = np.random.default_rng(7).normal(size=(n, dim))

    def answers(n_threads):
        with threadpool_limits(n_threads, user_api="blas"):
            drawn = flow.sample_and_log_prob(n, rng=1)
            return [flow.log_prob(x), *drawn, *flow.nll_and_grad(x)]

    expected = answers(1)
    for n_threads in (2, 3):
        for found, array in zip(answers(n_threads), expected, strict=True):
            np.testing.assert_array_equal(found, array)


def test_errors_on_threads_are_errors():
    """What goes wrong in a block that another thread has comes out as it is."""

    class Picky(Laplace):
        def log_prob(self, z):
            if np.abs(z).max() > 100:
                raise ZeroDivisionError("far")
            return super().log_prob(z)

    flow = flows.Flow(flows.LULinear(2), Picky())
    for row in (0, 3000, 4999):
        x = np.ones((5000, 2))
        x[row] = 1000
        with threadpool_limits(2, user_api="blas"), pytest.raises(ZeroDivisionError, match="far"):
            flow.log_prob(x)
        with threadpool_limits(2, user_api="blas"), pytest.raises(ZeroDivisionError, match="far"):
            flow.nll_and_grad(x)
    assert np.isfinite(flow.log_prob(np.ones((5000, 2)))).all()


@pytest.mark.parametrize("name", ["planar", "real_nvp", "maf", "nsf"])
def test_rows_of_many_blocks(name):
    """Thousands of rows give what each gives alone, draws as well as densities."""
    flow, _ = flow_and_context((cases.CASES[name], 2, 3))
    generator = np.random.default_rng(6)
    x, context = generator.normal(size=(5001, 2)), generator.normal(size=(5001, 3))
    values = flow.log_prob(x, context=context)
    for i in (0, 2047, 2048, 4999, 5000):
        assert flow.log_prob(x[i], context=context[i]) == pytest.approx(values[i], abs=1e-12)
    draws, log_q = flow.sample_and_log_prob(5001, rng=1, context=context)
    np.testing.assert_allclose(flow.log_prob(draws, context=context), log_q, rtol=0, atol=1e-9)
    z = flow.base.sample(5001, rng=np.random.default_rng(0))
    np.testing.assert_allclose(
        flow.forward(z[4000:], context=context[4000:])[0],
        flow.forward(z, context=context)[0][4000:],
        atol=1e-12,
    )


# -------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", cases.CONSTRUCTORS | cases.LAYERS)
def test_files(name, dtype, tmp_path):
    case = cases.CASES[name]
    flow = case.flow(2, case.context_dims[-1]).astype(dtype)
    s = case.subject(2, case.context_dims[-1])
    found = cases.comes_back_from_a_file(flow, s, tmp_path / "flow")
    found.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "flow").read_bytes()


ALL_BASES = BASES | {"uniform": flows.Uniform([0.0, -1.0], [0.5, 1.0]), "normal": flows.Normal(2)}


@pytest.mark.parametrize("base", ALL_BASES.values(), ids=ALL_BASES)
def test_files_of_bases(base, tmp_path):
    flow = flows.Flow(cases.CASES["LULinear"].flow(2).bijection, base)
    flow.save(tmp_path / "flow.npz")
    found = flows.load(tmp_path / "flow.npz")
    x = flow.sample(20, rng=1)
    assert found.base.config == base.config
    np.testing.assert_array_equal(found.sample(20, rng=1), x)
    np.testing.assert_array_equal(found.log_prob(x), flow.log_prob(x))


def test_a_file_is_plain(tmp_path):
    """Arrays by name and a header of JSON text: readable without this package, and unpickled."""
    flow = cases.CASES["real_nvp-actnorm"].flow(2)
    flow.save(tmp_path / "flow.npz")
    with np.load(tmp_path / "flow.npz", allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        arrays = {name: archive[name] for name in archive.files if name != "header"}
    assert header["format"] == "fastrbm-flow"
    assert header["format_version"] == 1
    assert header["dtype"] == "float64"
    assert header["flow"]["class"] == "Flow"
    layers = header["flow"]["bijection"]["layers"]
    assert [layer["class"] for layer in layers] == [
        "Coupling", "ActNorm", "Coupling", "ActNorm", "Whitening",
    ]  # fmt: skip
    names = [f"parameters/{name}" for name in flow.parameters]
    assert sorted(arrays) == sorted(names + [f"state/{name}" for name in flow.state])
    np.testing.assert_array_equal(arrays["state/4.mean"], flow.state["4.mean"])


def test_state_of_a_trained_flow_is_saved(tmp_path):
    """With its flags: a loaded flow does not take its numbers from the next data again."""
    x = np.random.default_rng(0).normal(3, 2, size=(200, 2))
    for normalization in ("actnorm", "batchnorm"):
        flow = flows.maf(2, depth=2, width=4, rng=0, normalization=normalization)
        flow.fit(x, n_epochs=1, rng=0)
        flow.save(tmp_path / "flow")
        found = flows.load(tmp_path / "flow")
        np.testing.assert_array_equal(found.log_prob(x), flow.log_prob(x))
        mean = found.state["5.mean"].copy()
        found.fit(x + 100, n_epochs=0)
        np.testing.assert_array_equal(found.state["5.mean"], mean)


# ----------------------------------------------------------------------------------- extreme inputs

FAR = np.array([[1e3, 1e3], [-1e3, -1e3], [1e3, -1e3], [1e3, 0.0], [0.0, -1e3], [0.0, 0.0]])


@some(lambda name, case, dim, c: dim == 2 and case.everywhere and case.onto and c == 0)
def test_far_points(setting):
    """A thousand deviations out: finite, quiet, and there and back."""
    flow, _ = flow_and_context(setting)
    for side in ("forward", "inverse"):
        image, log_det = getattr(flow, side)(FAR)
        assert np.isfinite(image).all()
        assert np.isfinite(log_det).all()
        if np.abs(image).max() < 1e100:  # of sinh(1000) the inverse has nothing
            back, log_det_back = getattr(flow, cases.OTHER[side])(image)
            cases.within(cases.relative(back, FAR), 1e-8)
            cases.within(np.abs(log_det + log_det_back).max(), 1e-7)
    assert np.isfinite(flow.log_prob(FAR[3:])).any()
    assert not np.isnan(flow.log_prob(FAR)).any()


@pytest.mark.parametrize("name", ["Tanh", "Sigmoid", "Softplus", "Exp"])
def test_far_points_of_bounded_maps(name):
    """Values are right to the last bits, slopes far beyond where they are zero as numbers."""
    x = np.array([-1e3, -800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 300.0, 700.0])[:, None]
    y, log_det = flows.Elementwise(1, getattr(flows, name)()).forward(x)
    expected = {
        "Tanh": (np.tanh(x), 2 * (math.log(2) - np.abs(x) - np.log1p(np.exp(-2 * np.abs(x))))),
        "Sigmoid": (expit(x), log_expit(x) + log_expit(-x)),
        "Softplus": (np.logaddexp(0, x), log_expit(x)),
        "Exp": (np.exp(x), x),
    }[name]
    np.testing.assert_allclose(y, expected[0], rtol=1e-14)
    np.testing.assert_allclose(log_det, expected[1][:, 0], rtol=1e-14)
    # And the ends of the range, the last numbers before them included.
    inverse = flows.Elementwise(1, getattr(flows, name)()).inverse
    tiny = 1e-300
    inner = {
        "Tanh": [-1 + 1e-16, 1 - 1e-16, tiny, 0.0],
        "Sigmoid": [tiny, 1 - 1e-16, 0.5],
        "Softplus": [tiny, 1e-10, 1e3, 1e300],
        "Exp": [tiny, 1.0, 1e300],
    }[name]
    x, log_det = inverse(np.array(inner)[:, None])
    assert np.isfinite(x).all()
    assert np.isfinite(log_det).all()
    outer = {"Tanh": [-1.0, 1.0, 1.5, 1e3], "Sigmoid": [0.0, 1.0, -1e3]}.get(name, [0.0, -1e3])
    x, log_det = inverse(np.array(outer)[:, None])
    assert np.isnan(x).all()
    assert (log_det == -np.inf).all()


def test_exp_and_sinh_do_not_overflow():
    for bijection in (
        flows.Elementwise(1, flows.Exp()), flows.Invert(flows.Elementwise(1, flows.Arcsinh())),
    ):  # fmt: skip
        for kind in ("float64", "float32"):
            y, log_det, tape = bijection.astype(kind).forward_tape([[1e3], [1e5]])
            assert np.isfinite(y).all()
            assert np.isfinite(log_det).all()
            grad, _, _ = tape.bijection.backward(tape, np.ones_like(y), 1.0)
            assert not np.isnan(grad).any()


def test_leaky_relu_at_its_kink():
    """Zero is on the upper side in both directions, minus zero too; just below is the lower one."""
    f = flows.Elementwise(1, flows.LeakyReLU(0.25))
    x = np.array([0.0, -0.0, 5e-324 * 8, -5e-324 * 8])[:, None]
    y, log_det = f.forward(x)
    np.testing.assert_array_equal(y[:, 0], [0, 0, 5e-324 * 8, -5e-324 * 2])
    np.testing.assert_allclose(log_det, [0, 0, 0, math.log(0.25)])
    back, log_det_back = f.inverse(y)
    np.testing.assert_array_equal(back, x)
    np.testing.assert_allclose(log_det_back, -log_det)


def test_affine_scales_are_bounded():
    """Between 1/1000 and 1000, smoothly, with slope one at zero."""
    f = flows.Elementwise(1, flows.Affine())
    for raw, low, high in (
        (1e8, 999, 1000),
        (-1e8, 1e-3, 1.001e-3),
        (0.0, 1, 1),
        (1e-6, 1, 1.00001),
    ):
        f.unravel([0.0, raw])
        scale = f.forward([1.0])[0][0]
        assert low <= scale <= high
        assert f.inverse([scale])[0][0] == pytest.approx(1, rel=1e-14)
        assert f.forward([1.0])[1] == pytest.approx(math.log(scale), rel=1e-12)


# -------------------------------------------------------------------------------- planar and radial


def planar_layer(u, w, b):
    layer = flows.Planar(len(u))
    layer.unravel([*u, *w, b])
    return layer


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_planar_by_its_definition(dim):
    """v by the paper, with m(0) = 0 and |w| squared; log|det| of I + v w^T tanh'."""
    generator = np.random.default_rng(dim)
    u, w, x = generator.normal(size=(3, dim))
    b = 0.3
    t = u @ w
    m = np.log1p((math.e - 1) * np.exp(t)) - 1
    v = u + (m - t) * w / (w @ w)
    p = np.tanh(w @ x + b)
    y, log_det = planar_layer(u, w, b).forward(x)
    np.testing.assert_allclose(y, x + v * p, rtol=1e-13)
    jacobian = np.eye(dim) + np.outer(v, w) * (1 - p * p)
    assert log_det == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-14)
    assert v @ w > -1
    assert log_det == pytest.approx(np.log1p(v @ w * (1 - p * p)), abs=1e-14)


EXTREME_PLANAR = {
    "w = 0": ([1.0, -2.0], [0.0, 0.0], 0.7),
    "u = 0": ([0.0, 0.0], [1.0, -2.0], 0.7),
    "w.u huge": ([50.0, 3.0], [20.0, 1.0], 0.1),
    "w.u = -30": ([-30.0, 0.0], [1.0, 0.0], 0.1),
    "w.u tiny": ([1e-20, 0.0], [1.0, 0.0], 0.1),
    "w.u = -tiny": ([-1e-20, 0.0], [1.0, 0.0], 0.1),
    "b = -1e8": ([0.5, -0.3], [1.0, 1.0], -1e8),
    "b = 1e8": ([0.5, -0.3], [1.0, 1.0], 1e8),
    "w long": ([0.5, -0.3], [1e4, 1e4], 0.3),
    "w short": ([1.0, -2.0], [1e-12, 2e-12], 0.7),
    "w shorter": ([1.0, -2.0], [1e-20, 2e-20], 0.7),
    "w shortest": ([1.0, -2.0], [1e-160, 2e-160], 0.7),
}


@pytest.mark.parametrize("numbers", EXTREME_PLANAR.values(), ids=EXTREME_PLANAR)
def test_extreme_planes(numbers):
    """Values and gradients are finite, steps no longer than u says, and there and back."""
    layer = planar_layer(*numbers)
    x = np.array([[0.3, -0.2], [-1.0, 0.5], [1e3, -1e3]])
    y, log_det, tape = layer.forward_tape(x)
    assert np.isfinite(log_det).all()
    length = np.linalg.norm(numbers[0])
    # |v| <= |u| + |m - w.u| / |w|, and |m - t| <= 1 + |t| while |m - t| <= |t| near 0.
    longest = 2 * length + min(1 / max(np.linalg.norm(numbers[1]), 1e-300), length)
    assert np.linalg.norm(y - x, axis=1).max() <= longest + 1e-15 * (1 + np.abs(x).max())
    back, log_det_back, back_tape = layer.inverse_tape(y)
    cases.within(cases.relative(back, x), 1e-9)
    cases.within(np.abs(log_det + log_det_back).max(), 1e-9)
    for recorded in (tape, back_tape):
        for part in (0, 2):
            answer = layer.backward(recorded, np.ones_like(x), 1.0)[part]
            answer = answer["conditioner.value"] if part else answer
            assert np.isfinite(answer).all()
            # By short w it is as long as 1 / |w|, by long w as |w|. At w = 0 there is none, and
            # no 1e290 either.
            norm = max(np.linalg.norm(numbers[1]), 1e-300)
            assert np.abs(answer).max() < 1e4 * max(norm, 1 / norm)
            assert any(numbers[1]) or np.abs(answer).max() < 1e4


@pytest.mark.parametrize("t", [-30.0, -50.0, -100.0])
def test_planes_that_almost_fold(t):
    """Where w.v is -1 to all digits, the slope on the plane is the softplus that made it."""
    layer = planar_layer([t, 0.0], [1.0, 0.0], 0.0)
    y, log_det = layer.forward([[0.0, 1.0]])
    np.testing.assert_array_equal(y, [[0.0, 1.0]])
    # 1 + m = softplus(t + log(e - 1)) = (e - 1) e^t to all digits.
    assert log_det[0] == pytest.approx(t + math.log(math.e - 1), rel=1e-6)
    x = np.array([[0.5, 1.0], [-2.0, 1.0]])
    cases.within(cases.relative(layer.inverse(layer.forward(x)[0])[0], x), 1e-9)


finite = st.floats(-20, 20)


@given(st.lists(finite, min_size=5, max_size=5), st.lists(finite, min_size=2, max_size=2))
def test_any_planar(numbers, x):
    layer = flows.Planar(2)
    layer.unravel(numbers)
    y, log_det = layer.forward(x)
    back, log_det_back = layer.inverse(y)
    assert np.isfinite(y).all()
    # The inverse is as well conditioned as the slope along w allows.
    v = 1 + np.abs(y - np.array(x)).max() + np.abs(numbers).max()
    slack = 1e-13 * v**2 / min(1.0, math.exp(log_det))
    np.testing.assert_allclose(back, x, rtol=0, atol=slack)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=0, atol=1e3 * slack)


def radial_layer(c, a, b):
    layer = flows.Radial(len(c))
    layer.unravel([*c, a, b])
    return layer


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_radial_by_its_definition(dim):
    generator = np.random.default_rng(dim)
    c, x = generator.normal(size=(2, dim))
    a, b = 0.4, -0.8
    alpha = np.logaddexp(0, a)
    beta = np.logaddexp(0, a + b) - alpha
    r = np.linalg.norm(x - c)
    h = 1 / (alpha + r)
    y, log_det = radial_layer(c, a, b).forward(x)
    np.testing.assert_allclose(y, x + beta * h * (x - c), rtol=1e-13)
    slope = 1 + beta * h - beta * h * h * r
    expected = (dim - 1) * math.log(1 + beta * h) + math.log(slope)
    assert log_det == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("b", [-3.0, 3.0])
def test_a_radial_flow_where_squares_overflow(b):
    """A shift along the ray, from far away: the identity to rounding, nothing infinite."""
    layer = radial_layer(np.full(3, 0.7), 0.2, b)
    x = np.array([[3e200, -4e200, 0.0], [1e-200, 0.0, 0.0]])
    for method in (layer.forward, layer.inverse):
        y, log_det = method(x[:1])
        np.testing.assert_allclose(y, x[:1], rtol=1e-15)
        assert abs(log_det[0]) < 1e-15
    back, _ = layer.inverse(layer.forward(x)[0])
    np.testing.assert_allclose(back, x, rtol=1e-14, atol=1e-15)
    for tape in (layer.forward_tape(x)[2], layer.inverse_tape(x)[2]):
        grad, _, grads = layer.backward(tape, np.ones((2, 3)), 1.0)
        assert np.isfinite(grad).all()
        assert all(np.isfinite(g).all() for g in grads.values())


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("b", [-40.0, -3.0, 0.0, 3.0, 40.0])
def test_the_centre_of_a_radial_flow(dim, b):
    """It stays; log|det| is dim log(gamma / alpha) there; gradients are finite."""
    layer = radial_layer(np.full(dim, 0.7), 0.2, b)
    x = np.full((1, dim), 0.7)
    y, log_det, tape = layer.forward_tape(x)
    np.testing.assert_array_equal(y, x)
    # Relative to the sizes, not their difference: softplus(-40) is 4e-18 of digits of its own.
    expected = dim * math.log(np.logaddexp(0, 0.2 + b) / np.logaddexp(0, 0.2))
    assert log_det[0] == pytest.approx(expected, rel=1e-9, abs=1e-15)
    back, log_det_back, back_tape = layer.inverse_tape(y)
    np.testing.assert_array_equal(back, x)
    assert log_det_back[0] == pytest.approx(-expected, rel=1e-9, abs=1e-15)
    for recorded in (tape, back_tape):
        grad, _, grads = layer.backward(recorded, np.ones((1, dim)), 1.0)
        assert np.isfinite(grad).all()
        assert np.isfinite(grads["conditioner.value"]).all()
    if b == -40:  # near it the slope grows from 1e-18, and what is left is below its digits
        return
    near = x + 1e-9 * np.random.default_rng(0).normal(size=(5, dim))
    np.testing.assert_allclose(layer.inverse(layer.forward(near)[0])[0], near, rtol=1e-13)
    assert layer.forward(near)[1] == pytest.approx(np.full(5, expected), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("b", [-30.0, -3.0, 3.0, 40.0])
def test_radial_inverses_keep_their_digits_near_the_centre(b):
    """Of the distance itself, not of the sizes it is a difference of (squares underflow below)."""
    layer = radial_layer([0.0, 0.0], -20.0, b)
    x = np.array([[0.6, 0.8]]) * 10.0 ** np.arange(-140, 3, 20)[:, None]
    np.testing.assert_allclose(layer.inverse(layer.forward(x)[0])[0], x, rtol=1e-12)


@given(finite, finite, finite, st.floats(0, 100))
def test_any_radial(a, b, c, r):
    """The closed inverse loses no digits on either side of its branch."""
    layer = radial_layer([c, -c], a, b)
    x = np.array([c + 0.6 * r, -c + 0.8 * r])
    y, log_det = layer.forward(x)
    back, _ = layer.inverse(y)
    # 1 / slope of the radius is how much rounding of y is worth in x.
    slack = 1e-14 * (1 + np.abs(y).max()) * max(1.0, math.exp(-log_det))
    np.testing.assert_allclose(back, x, rtol=0, atol=max(slack, 1e-13 * (1 + np.abs(x).max())))


# -------------------------------------------------------------------------------------- the splines


def random_spline(n_bins, bound, seed, **options):
    """A spline of one number, and its raw widths, heights and slopes, and its bound."""
    spline = flows.RationalQuadratic(n_bins, bound, **options)
    raw = np.random.default_rng(seed).standard_normal(spline.n_raw)
    layer = flows.Elementwise(1, spline)
    layer.unravel(raw)
    return layer, (raw[:n_bins], raw[n_bins : 2 * n_bins], raw[2 * n_bins :], bound)


@pytest.mark.parametrize("n_bins", [2, 5, 20])
@pytest.mark.parametrize(("bound", "softness"), [(0.5, 2.0), (4.0, 2.0), (4.0, 0.7), (1e3, 5.0)])
def test_splines_by_their_definition(n_bins, bound, softness):
    layer, numbers = random_spline(n_bins, bound, seed=n_bins, softness=softness)
    x = np.linspace(-1.2 * bound, 1.2 * bound, 201)
    expected = np.array([cases.slow_spline(value, *numbers, softness) for value in x])
    y, log_det = layer.forward(x[:, None])
    np.testing.assert_allclose(y[:, 0], expected[:, 0], rtol=0, atol=1e-13 * bound)
    np.testing.assert_allclose(log_det, np.log(expected[:, 1]), rtol=0, atol=1e-11)
    assert (np.diff(y[:, 0]) > 0).all()


@pytest.mark.parametrize("bound", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ends_of_splines(bound, dtype):
    layer = random_spline(6, bound, seed=1)[0].astype(dtype)
    for call in (layer.forward, layer.inverse):
        cases.spline_joins_the_identity(call, bound, dtype)


@pytest.mark.parametrize("n_bins", [2, 7])
@pytest.mark.parametrize("seed", range(4))
def test_knots_of_splines(n_bins, seed):
    """Knots go to knots, with the slopes of the parameters from either side, there and back."""
    layer, numbers = random_spline(n_bins, 2.0, seed)
    x, y = (cases.spline_knots(raw, 2.0) for raw in numbers[:2])
    slopes = np.concatenate([[1], softplus(numbers[2] + math.log(math.expm1(0.999))) + 1e-3, [1]])
    for points in (x, np.nextafter(x, -9), np.nextafter(x, 9)):
        found, log_det = layer.forward(points[:, None])
        np.testing.assert_allclose(found[:, 0], y, rtol=0, atol=1e-14)
        np.testing.assert_allclose(log_det, np.log(slopes), rtol=0, atol=1e-10)
    for points in (y, np.nextafter(y, -9), np.nextafter(y, 9)):
        found, log_det = layer.inverse(points[:, None])
        np.testing.assert_allclose(found[:, 0], x, rtol=0, atol=1e-13)
        np.testing.assert_allclose(log_det, -np.log(slopes), rtol=0, atol=1e-9)


raws = st.lists(st.floats(-40, 40), min_size=11, max_size=11)


@given(raws, st.lists(st.floats(-4, 4), min_size=1, max_size=20))
def test_any_spline(raw, x):
    """Whatever the parameters: finite, increasing, onto, and there and back."""
    layer = flows.Elementwise(1, flows.RationalQuadratic(n_bins=4, bound=3.0))
    layer.unravel(raw)
    x = np.sort(x)[:, None]
    y, log_det = layer.forward(x)
    assert np.isfinite(log_det).all()
    assert (np.diff(y[:, 0]) >= 0).all()
    assert (np.abs(y[np.abs(x) <= 3]) <= 3).all()
    back, log_det_back = layer.inverse(y)
    assert np.isfinite(log_det_back).all()
    # Rounding of y is worth eps / slope in x. Slopes go from 1e-6 to 1e6 here.
    slack = 1e-13 * (1 + np.exp(-log_det) + np.exp(log_det))
    assert (np.abs(back - x)[:, 0] <= 100 * slack).all()


def test_two_bounds_are_two_splines():
    x = np.array([[0.5], [1.5], [2.5]])
    images = [random_spline(5, bound, seed=2)[0].forward(x)[0] for bound in (1.0, 2.0, 3.0)]
    assert [(image != x).sum() for image in images] == [1, 2, 3]


def test_all_rows_outside_a_spline():
    layer = cases.CASES["nsf"].flow(2)
    x = np.array([[9.0, -9.0], [30.0, 20.0]])
    s = cases.Subject(layer.bijection, x, x)
    cases.round_trip(s)
    cases.log_det_is_of_the_jacobian(s)


# ------------------------------------------------------------------------------------ linear layers


def test_linear_layers_by_their_matrices():
    s = cases.LAYERS["LULinear"].subject(5)
    p = s.bijection.parameters
    lower, upper = np.eye(5), np.diag(np.exp(p["log_diagonal"]))
    lower[np.tril_indices(5, -1)], upper[np.triu_indices(5, 1)] = p["lower"], p["upper"]
    y, log_det = s.bijection.forward(s.x)
    np.testing.assert_allclose(y, s.x @ (lower @ upper).T + p["shift"], atol=1e-13)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(lower @ upper)[1], atol=1e-13)


def test_normalisations_by_their_formulas():
    s = cases.LAYERS["Whitening"].subject(3)
    mean, factor = s.bijection.state["mean"], s.bijection.state["factor"]
    np.testing.assert_allclose(s.bijection.forward(s.x)[0], mean + s.x @ factor.T, atol=1e-13)
    s = cases.LAYERS["ActNorm"].subject(3)
    p = s.bijection.parameters
    np.testing.assert_allclose(
        s.bijection.forward(s.x)[0], s.x * np.exp(p["log_scale"]) + p["shift"], atol=1e-13
    )
    s = cases.LAYERS["BatchNorm"].subject(3)
    p, state = s.bijection.parameters, s.bijection.state
    standard = (s.y - state["mean"]) / state["deviation"]
    np.testing.assert_allclose(
        s.bijection.inverse(s.y)[0], standard * np.exp(p["log_scale"]) + p["shift"], atol=1e-13
    )


def test_permutations():
    order = [2, 0, 3, 1]
    x = np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(flows.Permutation(order).forward(x)[0], x[:, order])
    np.testing.assert_array_equal(flows.Reverse(4).forward(x)[0], x[:, ::-1])
    assert repr(flows.Reverse(4)) == "Reverse(4)"
    assert repr(flows.Permutation(order)) == "Permutation([2, 0, 3, 1])"


@pytest.mark.parametrize("dim", [2, 3, 6])
@pytest.mark.parametrize("mask", ["half", "checkerboard"])
def test_nice_keeps_the_volume(dim, mask):
    """Up to the scales of its last layer: their logarithms' sum, for all rows."""
    flow = flows.nice(dim, depth=4, width=8, rng=0, mask=mask)
    cases.fill(flow)
    flow.bijection.layers[-1].own_state["factor"][:] = np.eye(dim)  # whitening has a volume too
    name = next(name for name in flow.parameters if name.startswith("4."))
    raw = flow.parameters[name].reshape(2, dim)[1]
    log_scales = raw / (1 + np.abs(raw) / math.log(1000))
    x = 3 * np.random.default_rng(0).normal(size=(50, dim))
    np.testing.assert_allclose(flow.forward(x)[1], log_scales.sum(), rtol=0, atol=1e-13)
    flow.parameters[name][:] = 0
    np.testing.assert_array_equal(flow.forward(x)[1], 0)
    assert (flow.forward(x)[0] != x).any(axis=1).all()


def test_masks():
    assert flows.half_mask(5).tolist() == [True, True, False, False, False]
    assert flows.checkerboard_mask(4).tolist() == [True, False, True, False]
    board = flows.checkerboard_mask(24, (2, 3, 4)).reshape(2, 3, 4)
    for axis in range(3):
        inner = np.take(board, range(1, board.shape[axis]), axis)
        assert (inner != np.take(board, range(board.shape[axis] - 1), axis)).all()
    flow = flows.real_nvp(6, depth=2, width=4, mask="checkerboard", shape=(2, 3), rng=0)
    first, second = (layer.mask for layer in flow.bijection.layers[:2])
    assert first.tolist() == flows.checkerboard_mask(6, (2, 3)).tolist()
    assert (first != second).all()


@pytest.mark.parametrize("name", ["Coupling-Affine", "Coupling-RationalQuadratic"])
def test_couplings_keep_what_they_keep(name):
    s = cases.CASES[name].subject(5)
    mask = s.bijection.mask
    for side, points in s.sides:
        image = s.call(side, points)[0]
        np.testing.assert_array_equal(image[:, mask], points[:, mask])
        assert (image[:, ~mask] != points[:, ~mask]).mean() > 0.5


# -------------------------------------------------------------------------- MADE and its sequential


SIZES = [
    (1, [], 0), (1, [4], 0), (1, [4, 4], 2), (2, [], 0), (2, [1], 0), (2, [1], 1), (3, [2], 0),
    (3, [8], 0), (3, [8, 3], 2), (5, [], 3), (5, [4], 0), (5, [4, 4, 4], 0), (5, [3], 0),
    (5, [2, 7], 0), (5, [5, 1], 1), (5, [20, 20], 0), (8, [3, 3], 2), (8, [64], 0),
    (12, [11], 0), (12, [12], 1), (19, [], 2), (19, [25, 9], 2), (19, [40, 40, 40], 0),
]  # fmt: skip
sizes = pytest.mark.parametrize(("dim", "widths", "context_dim"), SIZES, ids=map(str, SIZES))


def made_of(dim, widths, context_dim, n_raw=2, activation="tanh"):
    return cases.fill(
        flows.MADE(dim, widths, n_raw, context_dim=context_dim, activation=activation, rng=1),
        seed=3,
    )


def full_pass(made, x, context=None):
    """The network, layer by layer, with the masks put on by hand: (n, n_raw, dim)."""
    h = x if context is None else np.concatenate([x, context], axis=1)
    for layer in range(len(made.widths) + 1):
        weights = made.parameters[f"weights_{layer}"] * made.masks[layer]
        h = h @ weights + made.parameters[f"bias_{layer}"]
        if layer < len(made.widths):
            h = np.tanh(h) if made.activation == "tanh" else np.maximum(h, 0)
    return h.reshape(len(x), made.n_raw, made.dim)


@sizes
def test_masks_of_made(dim, widths, context_dim):
    """Output i sees inputs before i and the context: all of them, if the layers are wide enough."""
    made = made_of(dim, widths, context_dim)
    product = np.eye(dim + context_dim)
    for mask in made.masks:
        product = (product @ mask > 0).astype(float)
    np.testing.assert_array_equal(made.connectivity(), product > 0)
    found = made.connectivity().reshape(dim + context_dim, 2, dim)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])  # the same for both raw parameters
    allowed = np.arange(dim)[:, None] < np.arange(dim)
    assert not (found[:dim, 0] & ~allowed).any()
    if all(width >= dim - (context_dim == 0) for width in widths):
        np.testing.assert_array_equal(found[:dim, 0], allowed)
        assert found[dim:].all()
    else:  # something has to go unseen, but not everything
        assert found[:dim].any() or found[dim:].any()


@sizes
def test_every_hidden_unit_is_used(dim, widths, context_dim):
    """Each sees an input (if there is one to see) and is seen by an output."""
    made = made_of(dim, widths, context_dim)
    seen = np.ones(made.masks[-1].shape[1])
    for mask in reversed(made.masks[1:]):
        seen = mask @ seen > 0
        assert seen.all()
    if dim > 1 or context_dim:
        sees = np.ones(dim + context_dim)
        for mask in made.masks[:-1]:
            sees = sees @ mask > 0
            assert sees.all()


@sizes
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_jacobian_of_made(dim, widths, context_dim, activation):
    """Moving an input moves no output that must not see it, not by one bit."""
    made = made_of(dim, widths, context_dim, activation=activation)
    layer = flows.Autoregressive(flows.Affine(), made)
    generator = np.random.default_rng(2)
    x = generator.normal(size=(6, dim))
    context = generator.normal(size=(6, context_dim)) if context_dim else None
    before = layer.forward(x, context=context)[0]
    reached = made.connectivity()[:dim, :dim]
    for j in range(dim):
        moved = x.copy()
        moved[:, j] += 0.5
        changed = layer.forward(moved, context=context)[0] != before
        np.testing.assert_array_equal(changed[:, :j], False)
        assert changed[:, j].all()
        if activation == "tanh":
            np.testing.assert_array_equal(changed[:, j + 1 :].any(axis=0), reached[j, j + 1 :])


@sizes
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_sequential_is_dim_full_passes(dim, widths, context_dim, activation):
    """What finds each unit once agrees with what runs the whole network for each entry."""
    made = made_of(dim, widths, context_dim, activation=activation)
    layer = flows.Autoregressive(flows.Affine(), made)
    generator = np.random.default_rng(2)
    y = generator.normal(size=(6, dim))
    context = generator.normal(size=(6, context_dim)) if context_dim else None
    x = np.zeros((6, dim))
    for i in range(dim):
        raw = full_pass(made, x, context)
        log_scale = raw[:, 1] / (1 + np.abs(raw[:, 1]) / math.log(1000))
        x[:, i] = ((y - raw[:, 0]) / np.exp(log_scale))[:, i]
    found, log_det = layer.inverse(y, context=context)
    np.testing.assert_allclose(found, x, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(log_det, -log_scale.sum(axis=1), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layer.forward(x, context=context)[0], y, rtol=1e-10, atol=1e-10)


@sizes
def test_gradients_of_the_sequential_direction(dim, widths, context_dim):
    made = made_of(dim, widths, context_dim)
    layer = flows.Autoregressive(flows.Affine(), made)
    generator = np.random.default_rng(2)
    x = generator.normal(size=(6, dim))
    context = generator.normal(size=(6, context_dim)) if context_dim else None
    s = cases.Subject(layer, x, layer.forward(x, context=context)[0], context)
    cases.gradients_of_there_and_back(s)
    # Weights that are masked away receive nothing.
    _, _, tape = s.tape("inverse", s.y)
    grads = layer.backward(tape, np.ones_like(x), 1.0)[2]
    for i, mask in enumerate(made.masks):
        assert not grads[f"made.weights_{i}"][~mask].any()


# -------------------------------------------------------------------------------- numbers and roots


def test_softplus():
    x = np.array([-1e300, -800.0, -40.0, -1e-9, 0.0, 1e-9, 40.0, 800.0, 1e300])
    np.testing.assert_allclose(softplus(x), np.logaddexp(0, x), rtol=1e-15)
    y = np.array([1e-300, 1e-20, 1e-3, 1.0, 50.0, 1e300])
    np.testing.assert_allclose(softplus(inverse_softplus(y)), y, rtol=1e-13)


FUNCTIONS = {
    "line": (lambda x: x - 0.3, lambda x: np.ones_like(x), 0.3),
    "cube": (lambda x: x**3, lambda x: 3 * x**2, 0.0),
    "fifth": (lambda x: (x - 1) ** 5, lambda x: 5 * (x - 1) ** 4, 1.0),
    "root": (lambda x: np.cbrt(x), lambda x: 1 / (3 * np.cbrt(x) ** 2 + 1e-300), 0.0),
    "step": (lambda x: np.tanh(1e6 * (x - 0.7)), lambda x: 1e6 / np.cosh(
        np.minimum(np.abs(1e6 * (x - 0.7)), 300)) ** 2, 0.7),
    "flat ends": (lambda x: np.arctan(x + 2), lambda x: 1 / (1 + (x + 2) ** 2), -2.0),
    "exp": (lambda x: np.exp(x) - 1e-8, lambda x: np.exp(x), math.log(1e-8)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("width", [1e-3, 1.0, 1e3])
def test_roots_of_increasing_functions(name, width):
    """Wherever the bracket lies, and where Newton's method alone would run away or crawl."""
    value, slope, root = FUNCTIONS[name]
    shares = np.array([0.0, 1e-9, 0.1, 0.5, 0.9, 1.0])
    low, high = root - width * shares, root + width * (1 - shares)
    with np.errstate(over="ignore"):
        found = roots.increasing_root(lambda x: (value(x), slope(x)), low, high)
    # A root where the slope is zero is as sharp as the function: value(x) = 0 to rounding.
    loose = {"cube": 1e-6, "fifth": 2e-3}.get(name, 1e-12)
    np.testing.assert_allclose(found, root, rtol=0, atol=loose * max(1, abs(root)))


def test_no_roots_at_all():
    empty = np.empty(0)
    assert roots.increasing_root(lambda x: (x, np.ones_like(x)), empty, empty).shape == (0,)


# ------------------------------------------------------------------------------------ longer proofs


@pytest.mark.slow
@some(lambda name, case, dim, c: case.everywhere and case.kinks and dim == 2 and c == 0)
@pytest.mark.parametrize("seed", [0, 1])
def test_integral_at_length(setting, seed):
    """1 +- 3e-5 with kinks in the plane, of smaller and smaller squares."""
    case, dim, _ = setting
    flow = case.flow(dim, seed=seed)
    box = cases.extent(flow, chart=case.chart)
    density = cases.density_on(flow, chart=case.chart)
    assert cases.adaptive(density, *box, tolerance=1e-9, n=100, levels=14) == pytest.approx(
        1, abs=3e-5
    )


@pytest.mark.slow
@every
def test_everything_with_other_numbers(setting):
    """All properties at five more sets of parameters and points."""
    for seed in range(1, 6):
        s = cases.well_conditioned(subject_of(setting, seed=seed, n=20))
        assert len(s.x) >= 5
        for check in (cases.round_trip, cases.log_dets_cancel, cases.log_det_is_of_the_jacobian):
            check(s, tolerance=1e-9)  # a condition of 1e5, and more of it on the way
        for check in (
            cases.inputs_get_gradients, cases.parameters_get_gradients, cases.vjps_are_linear,
            cases.gradients_of_there_and_back, cases.nothing_changes, cases.rows_stand_alone,
        ):  # fmt: skip
            check(s)


def test_families_are_all_here():
    """Whatever the package exports as a bijection or a map is in some case."""
    text = " ".join(
        repr(case.build(case.dims[-1], case.context_dims[-1])) for case in cases.CASES.values()
    )
    kinds = [
        name for name in flows.__all__
        if isinstance(getattr(flows, name), type)
        and issubclass(getattr(flows, name), (flows.Bijection, flows.Univariate))
        and name not in ("Bijection", "Univariate")
    ]  # fmt: skip
    assert [name for name in kinds if f"{name}(" not in text] == []
    constructors = [
        name for name in flows.__all__ if name.islower() and callable(getattr(flows, name))
    ]
    missing = set(constructors) - {"load", "checkerboard_mask", "half_mask"}
    assert missing <= {name.partition("-")[0] for name in cases.CONSTRUCTORS}
