"""Flows that are asked for what they cannot do: one clear error each, before any work."""

import json
import math
import os
import pickle

import flow_cases as cases
import numpy as np
import pytest

from fastrbm import ConvergenceError, FileFormatError, flows
from fastrbm.flows import roots

X = np.random.default_rng(0).normal(size=(50, 2))
CONTEXT = np.random.default_rng(1).normal(size=(50, 3))


def small(name="real_nvp", **options):
    return getattr(flows, name)(**{"dim": 2, "depth": 2, "width": 4, "rng": 0, **options})


def quadratic(x):
    """The log-density of the standard normal, up to a constant, and its gradient."""
    return -0.5 * (x**2).sum(axis=1), -x


def bits(flow):
    """All that a refused call must leave as it was."""
    return [array.tobytes() for array in [*flow.parameters.values(), *flow.state.values()]]


# ----------------------------------------------------------------------------------- rows and types

BAD_ROWS = {
    "other dim": (np.zeros((3, 4)), ValueError, r"\(n_samples, 2\) or \(2,\), got \(3, 4\)"),
    "a row of another dim": (np.zeros(3), ValueError, r"got \(3,\)"),
    "a number": (1.0, ValueError, r"got \(\)"),
    "three axes": (np.zeros((2, 3, 2)), ValueError, r"got \(2, 3, 2\)"),
    "nan": ([[0.0, 1.0], [math.nan, 0.0]], ValueError, r"finite, got nan at index \(1, 0\)"),
    "inf": ([[0.0, math.inf]], ValueError, r"finite, got inf at index \(0, 1\)"),
    "complex": (X * 1j, TypeError, "real numbers"),
    "text": ([["a", "b"]], TypeError, "real numbers"),
    "none": (None, TypeError, "real numbers"),
    "objects": (X.astype(object), TypeError, "real numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], TypeError, "rectangular"),
    "masked": (np.ma.masked_array(X, X > 0), TypeError, "masked"),
}
bad_rows = pytest.mark.parametrize(("value", "kind", "match"), BAD_ROWS.values(), ids=BAD_ROWS)


@bad_rows
@pytest.mark.parametrize("method", ["forward", "inverse", "log_prob", "nll", "nll_and_grad"])
def test_bad_rows(method, value, kind, match):
    flow = small("planar")
    name = {"forward": "[xz]", "inverse": "[xy]"}.get(method, "x")
    with pytest.raises(kind, match=f"^{name} must .*{match}"):
        getattr(flow, method)(value)


@bad_rows
def test_bad_data(value, kind, match):
    del match  # data have one more rule: two axes
    flow = small()
    before = bits(flow)
    with pytest.raises(kind, match=r"^X must"):
        flow.fit(value)
    if value is not None:
        with pytest.raises(kind, match=r"^validation_data must"):
            flow.fit(X, validation_data=value)
    assert bits(flow) == before


@bad_rows
def test_bad_latent_points(value, kind, match):
    with pytest.raises(kind, match=f"^z must .*{match}"):
        flows.Normal(2).log_prob(value)


def test_numbers_beyond_single_precision():
    """They are no infinity that came from nowhere, and no NumPy warning."""
    flow = small(dtype="float32")
    with pytest.raises(ValueError, match="x must be finite"):
        flow.log_prob([[1e300, 0.0]])
    with pytest.raises(ValueError, match="theta must be finite"):
        flow.unravel(np.full(flow.n_parameters, 1e300))
    assert np.isfinite(flow.ravel()).all()


# ----------------------------------------------------------------------------------------- contexts

BAD_CONTEXTS = {
    "missing": (None, ValueError, "context must be given: this flow has context_dim=3"),
    "other dim": (CONTEXT[:, :2], ValueError, r"context must have shape .*3.* got \(50, 2\)"),
    "other length": (CONTEXT[:49], ValueError, "context must have 50 rows.* got 49"),
    "nan": (CONTEXT * math.nan, ValueError, "context must be finite"),
    "text": ("abc", TypeError, "context must"),
}


@pytest.mark.parametrize(("value", "kind", "match"), BAD_CONTEXTS.values(), ids=BAD_CONTEXTS)
def test_bad_contexts(value, kind, match):
    flow = small(context_dim=3)
    for method in ("forward", "inverse", "log_prob", "nll", "nll_and_grad"):
        with pytest.raises(kind, match=match):
            getattr(flow, method)(X, context=value)
    for method in ("sample", "sample_and_log_prob"):
        with pytest.raises(kind, match=match):
            getattr(flow, method)(50, context=value)
    with pytest.raises(kind, match=match):
        flow.fit(X, context=value)
    with pytest.raises(kind, match=match.replace("context must", "validation_context must")):
        flow.fit(X, context=CONTEXT, validation_data=X, validation_context=value)
    with pytest.raises(kind, match="context must"):
        flow.fit_energy(quadratic, n_steps=1, context=value)


def test_what_has_a_default_goes_by_keyword():
    flow = small()
    for call in (
        lambda: flows.real_nvp(2, 3),
        lambda: flow.sample(3, 1),
        lambda: flow.sample_and_log_prob(3, 1),
        lambda: flow.log_prob(X, None),
        lambda: flow.forward(X, None),
        lambda: flow.bijection.inverse(X, None),
        lambda: flow.base.sample(3, 1),
        lambda: flows.toys.moons.sample(3, 1),
    ):
        with pytest.raises(TypeError, match="positional argument"):
            call()


def test_superfluous_contexts():
    flow = small()
    match = "context must be left out"
    for method in ("forward", "inverse", "log_prob", "nll", "nll_and_grad"):
        with pytest.raises(ValueError, match=match):
            getattr(flow, method)(X, context=CONTEXT)
    with pytest.raises(ValueError, match=match):
        flow.sample(50, context=CONTEXT)
    with pytest.raises(ValueError, match=match):
        flow.fit(X, context=CONTEXT)
    with pytest.raises(ValueError, match=match):
        flow.fit_energy(quadratic, context=CONTEXT[0])
    with pytest.raises(ValueError, match="validation_context must come with validation_data"):
        flow.fit(X, validation_context=CONTEXT)
    with pytest.raises(ValueError, match="validation_context must be left out"):
        flow.fit(X, validation_data=X, validation_context=CONTEXT)


def test_one_context_for_all_draws_of_an_energy():
    with pytest.raises(ValueError, match=r"context must have shape \(3,\), got \(512, 3\)"):
        small(context_dim=3).fit_energy(quadratic, context=np.zeros((512, 3)))


# ------------------------------------------------------------------------------ outside the support


def positive(base=None):
    """A flow onto the positive quadrant, whitening behind."""
    layers = [flows.LULinear(2), flows.Elementwise(2, flows.Exp())]
    return flows.Flow(flows.Chain(layers), base)


OUTSIDE = np.array([[1.0, -1.0], [-1.0, 2.0], [0.0, 1.0], [-1e308, 1e308]])


def test_outside_the_support():
    """Density zero there: -inf, neither NaN nor a warning, and the other rows are as ever."""
    flow = positive()
    inside = np.array([[1.0, 2.0], [0.5, 3.0]])
    mixed = np.concatenate([OUTSIDE, inside])
    values = flow.log_prob(mixed)
    assert (values[:4] == -np.inf).all()
    np.testing.assert_array_equal(values[4:], flow.log_prob(inside))
    assert flow.log_prob(OUTSIDE[0]) == -np.inf
    z, log_det = flow.inverse(mixed)
    assert np.isnan(z[:4]).all()
    assert (log_det[:4] == -np.inf).all()
    assert np.isfinite(z[4:]).all()
    assert np.isfinite(log_det[4:]).all()
    assert flow.nll(mixed) == np.inf
    narrow = flow.astype("float32")
    assert (narrow.log_prob(mixed[:3]) == -np.inf).all()
    assert narrow.log_prob(mixed[:3]).dtype == np.float32


@pytest.mark.parametrize("name", ["Tanh", "Sigmoid", "Softplus", "Exp"])
@pytest.mark.parametrize("structure", ["Elementwise", "Coupling", "Autoregressive"])
def test_outside_a_map(name, structure):
    """In every structure that applies it, alone and in a chain."""
    map = getattr(flows, name)()
    layer = {
        "Elementwise": lambda: flows.Elementwise(2, map),
        "Coupling": lambda: flows.Coupling([True, False], map, flows.MLP(1, [3], 0, rng=0)),
        "Autoregressive": lambda: flows.Autoregressive(map, flows.MADE(2, [3], 0, rng=0)),
    }[structure]()
    low = -1.5
    points = np.array([[0.5, low], [0.5, 0.5]])
    for bijection in (layer, flows.Chain([flows.LULinear(2), layer])):
        y, log_det = bijection.inverse(points)
        assert log_det[0] == -np.inf
        assert np.isnan(y[0]).all()
        assert np.isfinite(y[1]).all()
        assert flows.Flow(bijection).log_prob(points)[0] == -np.inf


def test_outside_the_base():
    flow = flows.Flow(flows.LULinear(2), flows.Uniform([0.0, 0.0], [1.0, 2.0]))
    np.testing.assert_array_equal(
        flow.log_prob([[0.5, 0.5], [1.5, 0.5], [0.0, 2.0]]),
        [-math.log(2), -np.inf, -math.log(2)],
    )
    # Far out, where the square of the distance overflows: density zero, without a warning.
    assert (flows.Flow(flows.LULinear(2)).log_prob([[1e200, 0.0]]) == -np.inf).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["planar", "radial", "real_nvp", "maf", "nsf"])
def test_at_the_end_of_the_numbers(name):
    flow = cases.fill(getattr(flows, name)(2, depth=3, width=8, rng=0))
    x = np.array([[1.7e308, 0.0], [0.3, 0.1], [-1.7e308, 1.7e308], [1e300, -1e300]])
    values = flow.log_prob(x)
    np.testing.assert_array_equal(np.isfinite(values), [False, True, False, False])
    assert (values[[0, 2, 3]] == -np.inf).all()


class Box:
    """A uniform base of a user's own, without score; `value` inside the unit square."""

    dim = 2

    def __init__(self, value=0.0):
        self.value = value

    def log_prob(self, z):
        return np.where(((z >= 0) & (z <= 1)).all(axis=1), self.value, -np.inf)

    def sample(self, n, rng=None):
        return rng.random((n, 2))


def test_bases_that_end_or_fail():
    flow = flows.Flow(flows.LULinear(2), Box())
    assert np.isfinite(flow.nll_and_grad([[0.5, 0.5]])[1]).all()
    with pytest.raises(ValueError, match="base must have a method score"):
        flow.nll_and_grad([[0.0002, 0.5], [0.3, 0.4]])
    with pytest.raises(ValueError, match=r"base\.log_prob must be a number or -inf, got NaN"):
        flows.Flow(flows.LULinear(2), Box(math.nan)).log_prob([[0.5, 0.5]])


def test_no_gradient_outside():
    flow = positive()
    mixed = np.concatenate([OUTSIDE, np.ones((3, 2))])
    with pytest.raises(ValueError, match="x must be inside the support"):
        flow.nll_and_grad(mixed)
    flow.nll_and_grad(mixed[4:])


def test_data_outside():
    """Refused before any number is taken from them."""
    flow = flows.Flow(
        flows.Chain([flows.LULinear(2), flows.Whitening(2), flows.Elementwise(2, flows.Exp())])
    )
    before = bits(flow)
    good = np.exp(X)
    with pytest.raises(ValueError, match="X must be inside the support"):
        flow.fit(X)
    assert bits(flow) == before
    with pytest.raises(ValueError, match="validation_data must be inside the support"):
        flow.fit(good, validation_data=X)
    assert bits(flow) == before
    flow.fit(good, n_epochs=0)
    assert bits(flow) != before


# ---------------------------------------------------------------------------- non-finite parameters


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_poisoned_parameters(poison):
    """Set in place: seen by every call, with the name of the array."""
    flow = small()
    name = list(flow.parameters)[2]
    flow.parameters[name].flat[1] = poison
    calls = {
        "forward": (X,), "inverse": (X,), "log_prob": (X,), "nll": (X,), "nll_and_grad": (X,),
        "sample": (3,), "sample_and_log_prob": (3,), "fit": (X,), "fit_energy": (quadratic,),
    }  # fmt: skip
    for method, arguments in calls.items():
        with pytest.raises(ValueError, match=f"parameter '{name}' must be finite"):
            getattr(flow, method)(*arguments)


def test_poisoned_state():
    flow = small()
    flow.state["2.mean"][0] = math.nan
    with pytest.raises(ValueError, match=r"state '2\.mean' must be finite"):
        flow.log_prob(X)


def test_a_poisoned_flow_is_not_saved(tmp_path):
    """Its file could not be read."""
    flow = small()
    next(iter(flow.parameters.values())).flat[0] = math.nan
    with pytest.raises(ValueError, match="must be finite"):
        flow.save(tmp_path / "flow.npz")
    assert os.listdir(tmp_path) == []


BAD_THETAS = {
    "short": (lambda n: np.zeros(n - 1), ValueError, r"theta must have shape \(\d+,\), got"),
    "long": (lambda n: np.zeros(n + 1), ValueError, "theta must have shape"),
    "two axes": (lambda n: np.zeros((1, n)), ValueError, "theta must have shape"),
    "nan": (lambda n: np.full(n, math.nan), ValueError, "theta must be finite, got nan"),
    "late inf": (lambda n: np.append(np.ones(n - 1), math.inf), ValueError, "theta must be finite"),
    "text": (lambda n: ["a"] * n, TypeError, "theta must hold real numbers"),
    "none": (lambda n: None, TypeError, "theta must hold real numbers"),
}


@pytest.mark.parametrize(("make", "kind", "match"), BAD_THETAS.values(), ids=BAD_THETAS)
def test_bad_thetas(make, kind, match):
    flow = small()
    before = bits(flow)
    with pytest.raises(kind, match=match):
        flow.unravel(make(flow.n_parameters))
    assert bits(flow) == before


# -------------------------------------------------------------------- inverses that do not converge


def steep():
    return cases.fill(small("planar"), seed=1)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("method", ["inverse", "log_prob", "nll", "nll_and_grad"])
def test_no_convergence(monkeypatch, method, steps):
    """An error with the residual, never a silent wrong value."""
    flow = steep()
    expected = getattr(flow, method)(X)
    monkeypatch.setattr(roots, "MAX_STEPS", steps)
    with pytest.raises(ConvergenceError, match=r"did not converge.*residual") as caught:
        getattr(flow, method)(X)
    assert type(caught.value.residual) is float
    assert 1e-12 < caught.value.residual < 10
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.residual, str(again)) == (caught.value.residual, str(caught.value))
    monkeypatch.undo()
    again = getattr(flow, method)(X)
    pairs = zip(again, expected, strict=True) if type(again) is tuple else [(again, expected)]
    for a, b in pairs:  # and nothing is left of the failure
        np.testing.assert_array_equal(a, b)


def test_no_convergence_in_one_row(monkeypatch):
    """One is an error, however many of the others have converged; in `fit` as well."""
    flow = flows.Flow(flows.Planar(2))
    flow.unravel([3.0, 0.0, 2.0, 0.0, 0.0])
    # On the plane w.y + b = 0 the root is the middle of the bracket: nothing is left to find.
    on = np.column_stack([np.zeros(20), np.arange(20.0)])
    mixed = np.concatenate([on, [[0.9, 1.0]]])
    monkeypatch.setattr(roots, "MAX_STEPS", 1)
    assert np.isfinite(flow.log_prob(on)).all()
    with pytest.raises(ConvergenceError, match="1 of 21 rows"):
        flow.log_prob(mixed)
    with pytest.raises(ConvergenceError):
        flow.fit(mixed, n_epochs=1)


def test_residual_is_of_the_equation(monkeypatch):
    """What is left of function(x) where the last step has ended."""
    monkeypatch.setattr(roots, "MAX_STEPS", 1)
    seen = []

    def function(x):
        seen.append(np.arctan(x - 2.0))
        return seen[-1], 1 / (1 + (x - 2.0) ** 2)

    with pytest.raises(ConvergenceError) as caught:
        roots.increasing_root(function, np.array([-8.0, -3.0]), np.array([9.0, 9.0]))
    assert caught.value.residual == np.abs(seen[-1]).max()


# ------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("method", ["sample", "sample_and_log_prob"])
@pytest.mark.parametrize(
    ("n", "kind"), [(-1, ValueError), (1.5, TypeError), (True, TypeError), ("3", TypeError)]
)
def test_bad_counts(method, n, kind):
    with pytest.raises(kind, match="n must be an integer >= 0"):
        getattr(small(), method)(n)


@pytest.mark.parametrize(("rng", "kind"), [("a", TypeError), (-1, ValueError), (1.5, TypeError)])
def test_bad_seeds(rng, kind):
    flow = small()
    for call in (
        lambda: flow.sample(2, rng=rng),
        lambda: flow.fit(X, rng=rng),
        lambda: flow.fit_energy(quadratic, rng=rng),
        lambda: small(rng=rng),
        lambda: flow.base.sample(2, rng=rng),
        lambda: flows.Planar(2, rng=rng),
    ):
        with pytest.raises(kind, match="rng must be"):
            call()


def test_empty_batches_are_allowed():
    """Shapes and types are kept; only what has no mean or no data is refused."""
    for name in ("planar", "radial", "nice", "real_nvp", "maf", "iaf", "nsf"):
        for dtype in ("float64", "float32"):
            flow = small(name, dtype=dtype)
            none = np.empty((0, 2))
            for side in ("forward", "inverse"):
                image, log_det = getattr(flow, side)(none)
                assert (image.shape, log_det.shape) == ((0, 2), (0,))
                assert image.dtype == log_det.dtype == dtype
            assert flow.log_prob(none).shape == (0,)
            assert flow.log_prob(none).dtype == flow.sample(0).dtype == dtype
            assert flow.sample(0).shape == (0, 2)
            assert [a.shape for a in flow.sample_and_log_prob(0)] == [(0, 2), (0,)]
            assert math.isnan(flow.nll(none))
            with pytest.raises(ValueError, match="x must have at least one row"):
                flow.nll_and_grad(none)
            with pytest.raises(ValueError, match=r"^X must .*got \(0, 2\)"):
                flow.fit(none)
    with pytest.raises(ValueError, match=r"^validation_data must .*got \(0, 2\)"):
        flow.fit(X, validation_data=none)
    conditional = small(context_dim=3)
    assert conditional.log_prob(none, context=np.empty((0, 3))).shape == (0,)
    assert conditional.sample(0, context=np.zeros(3)).shape == (0, 2)
    for base in (
        flows.Normal(2),
        flows.GaussianMixture([[0.0, 1.0]]),
        flows.Uniform([0, 0], [1, 1]),
    ):
        assert base.log_prob(none).shape == (0,)
        assert base.score(none).shape == base.sample(0).shape == (0, 2)


def test_constant_columns():
    constant = np.column_stack([X[:, 0], np.full(50, 3.0)])
    flow = small(normalization="actnorm")
    before = bits(flow)
    with pytest.raises(ValueError, match="X must vary in every column: column 1 is 3 in every row"):
        flow.fit(constant)
    with pytest.raises(ValueError, match=r"^X must"):
        flow.fit(X[:1])  # one row does not vary either
    assert bits(flow) == before


# ----------------------------------------------------------------------------------------- training

BAD_OPTIONS = {
    "learning_rate": [
        (-1, ValueError),
        (math.nan, ValueError),
        ("a", TypeError),
        (None, TypeError),
    ],
    "batch_size": [(0, ValueError), (1.5, TypeError), (None, TypeError)],
    "optimizer": [("sgd", ValueError), (None, TypeError), (3, TypeError)],
    "schedule": [("exponential", ValueError), (3, TypeError), (None, TypeError)],
    "max_norm": [(0, ValueError), (-1.0, ValueError), (math.inf, ValueError), ("a", TypeError)],
    "callback": [(3, TypeError), ("print", TypeError)],
    "resume": [(3, TypeError), ({}, TypeError)],
    "progress": [(1, TypeError), (None, TypeError)],
}
ONLY_FIT = {
    "n_epochs": [(-1, ValueError), (1.5, TypeError), (None, TypeError)],
    "patience": [(0, ValueError), (1.5, TypeError)],
}
ONLY_ENERGY = {
    "n_steps": [(-1, ValueError), (1.5, TypeError), (None, TypeError)],
    "anneal": [(3, TypeError), (0.5, TypeError)],
    "optimizer": [("lbfgs", ValueError)],
}


def listed(options):
    return [(name, value, kind) for name, cases in options.items() for value, kind in cases]


@pytest.mark.parametrize(("name", "value", "kind"), listed(BAD_OPTIONS) + listed(ONLY_FIT))
def test_bad_options_of_fit(name, value, kind):
    flow = small()
    before = bits(flow)
    with pytest.raises(kind, match=f"^{name} must"):
        flow.fit(X, **{name: value})
    assert bits(flow) == before  # whitening is not set either


@pytest.mark.parametrize(("name", "value", "kind"), listed(BAD_OPTIONS) + listed(ONLY_ENERGY))
def test_bad_options_of_fit_energy(name, value, kind):
    flow = small()
    before = bits(flow)
    with pytest.raises(kind, match=f"^{name} must"):
        flow.fit_energy(quadratic, **{name: value})
    assert bits(flow) == before


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "a", None])
def test_bad_annealing(value):
    with pytest.raises((ValueError, TypeError), match=r"anneal\(0\) must be a finite number >= 0"):
        small().fit_energy(quadratic, n_steps=1, anneal=lambda step: value)


BAD_ANSWERS = {
    "nothing": (lambda x: None, TypeError, "a pair"),
    "values alone": (lambda x: -x.sum(axis=1), TypeError, "a pair"),
    "three": (lambda x: (x[:, 0], x, x), TypeError, "a pair"),
    "values of two axes": (lambda x: (x, x), ValueError, r"\(5,\) and \(5, 2\), got \(5, 2\)"),
    "a column of values": (lambda x: (x[:, :1], x), ValueError, r"got \(5, 1\)"),
    "gradients of one axis": (lambda x: (x[:, 0], x[:, 0]), ValueError, r"got \(5,\) and \(5,\)"),
    "a mean": (lambda x: (x.mean(), x), ValueError, r"got \(\)"),
    "text": (lambda x: ("a", x), TypeError, "real numbers"),
    "complex": (lambda x: (x[:, 0] * 1j, x), TypeError, "real numbers"),
}


@pytest.mark.parametrize(("answer", "kind", "match"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_bad_log_densities(answer, kind, match):
    flow = small()
    before = bits(flow)
    with pytest.raises(kind, match=f"log_density must .*{match}"):
        flow.fit_energy(answer, n_steps=1, batch_size=5)
    assert bits(flow) == before


def test_log_density_is_a_function():
    with pytest.raises(TypeError, match="log_density must be callable, got 3"):
        small().fit_energy(3)


@pytest.mark.parametrize("answer", [1, "stop", 0.0])
def test_bad_answers_of_callbacks(answer):
    with pytest.raises(TypeError, match="callback must return None or a bool"):
        small().fit(X, n_epochs=1, callback=lambda state: answer)


def test_results_of_other_runs_are_not_resumed():
    result = small().fit(X, n_epochs=1)
    with pytest.raises(ValueError, match=r"^resume must come from"):
        small(width=5).fit(X, resume=result)
    with pytest.raises(ValueError, match=r"^resume must come from"):
        small().fit_energy(quadratic, resume=result)
    energy = small().fit_energy(quadratic, n_steps=1, batch_size=5)
    with pytest.raises(ValueError, match=r"^resume must come from"):
        small().fit(X, resume=energy)


# ---------------------------------------------------------------------------------- making of flows

BAD_CONSTRUCTIONS = [
    ("planar", "dim", 0, ValueError), ("planar", "dim", 1.5, TypeError),
    ("radial", "dim", True, TypeError), ("planar", "depth", 0, ValueError),
    ("radial", "width", 0, ValueError), ("nice", "n_hidden", -1, ValueError),
    ("nice", "activation", "gelu", ValueError), ("nice", "activation", None, TypeError),
    ("real_nvp", "mask", "thirds", ValueError), ("real_nvp", "mask", [True, False], TypeError),
    ("real_nvp", "shape", (2,), ValueError), ("real_nvp", "normalization", "layer", ValueError),
    ("maf", "normalization", 3, TypeError), ("maf", "context_dim", -1, ValueError),
    ("maf", "dtype", "float16", ValueError), ("iaf", "dtype", None, ValueError),
    ("nsf", "n_bins", 1, ValueError), ("nsf", "n_bins", 1000, ValueError),
    ("nsf", "n_bins", 4.0, TypeError), ("nsf", "bound", 0, ValueError),
    ("nsf", "bound", math.inf, ValueError), ("nsf", "autoregressive", 1, TypeError),
    ("nsf", "linear", None, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("constructor", "name", "value", "kind"), BAD_CONSTRUCTIONS)
def test_bad_arguments_of_constructors(constructor, name, value, kind):
    with pytest.raises(kind, match=f"^{name} must"):
        small(constructor, **{name: value})


def mlp(n_in=1, n_out=2):
    return flows.MLP(n_in, [3], n_out, rng=0)


LAYER = flows.LULinear(2)
BAD_LAYERS = {
    "permutation with a gap": (lambda: flows.Permutation([0, 2]), ValueError, "order"),
    "permutation twice": (lambda: flows.Permutation([0, 0]), ValueError, "order"),
    "permutation of floats": (lambda: flows.Permutation([0.0, 1.0]), ValueError, "order"),
    "permutation of nothing": (lambda: flows.Permutation([]), ValueError, "order"),
    "permutation of rows": (lambda: flows.Permutation([[0, 1]]), ValueError, "order"),
    "reverse of nothing": (lambda: flows.Reverse(0), ValueError, "dim"),
    "linear": (lambda: flows.LULinear(-1), ValueError, "dim"),
    "whitening": (lambda: flows.Whitening(1.5), TypeError, "dim"),
    "actnorm": (lambda: flows.ActNorm(0), ValueError, "dim"),
    "batchnorm": (lambda: flows.BatchNorm("2"), TypeError, "dim"),
    "planar": (lambda: flows.Planar(0), ValueError, "dim"),
    "radial": (lambda: flows.Radial(1.5), TypeError, "dim"),
    "planar of another size": (
        lambda: flows.Planar(2, flows.Constant(3)), ValueError, "conditioner must have 5 outputs"),
    "planar of no conditioner": (lambda: flows.Planar(2, "a"), TypeError, "conditioner"),
    "planar of a MADE": (
        lambda: flows.Planar(2, flows.MADE(5, [3], 1)), TypeError, "conditioner must be Constant"),
    "elementwise of no map": (lambda: flows.Elementwise(2, 3), TypeError, "map"),
    "elementwise of a class": (lambda: flows.Elementwise(2, flows.Affine), TypeError, "map"),
    "elementwise of another size": (
        lambda: flows.Elementwise(2, flows.Affine(), flows.Constant(3)), ValueError, "conditioner"),
    "elementwise of no conditioner": (
        lambda: flows.Elementwise(2, flows.Affine(), 5), TypeError, "conditioner"),
    "mask of numbers": (
        lambda: flows.Coupling([1, 0], flows.Affine(), mlp()), ValueError, "mask"),
    "mask of rows": (
        lambda: flows.Coupling([[True, False]], flows.Affine(), mlp()), ValueError, "mask"),
    "mask of nothing": (lambda: flows.Coupling([], flows.Affine(), mlp()), ValueError, "mask"),
    "mask of text": (lambda: flows.Coupling("10", flows.Affine(), mlp()), TypeError, "mask"),
    "coupling of too many outputs": (
        lambda: flows.Coupling([True, False], flows.Affine(), mlp(1, 3)), ValueError,
        "conditioner must take 1 entries"),
    "coupling of too few inputs": (
        lambda: flows.Coupling([True, True, False], flows.Affine(), mlp()), ValueError,
        "conditioner must take 2 entries"),
    "coupling of a MADE": (
        lambda: flows.Coupling([True, False], flows.Affine(), flows.MADE(1, [3], 2)), TypeError,
        "conditioner"),
    "coupling of no map": (lambda: flows.Coupling([True, False], "a", mlp()), TypeError, "map"),
    "autoregressive of no map": (
        lambda: flows.Autoregressive(3, flows.MADE(2, [3], 2)), TypeError, "map"),
    "autoregressive of an MLP": (
        lambda: flows.Autoregressive(flows.Affine(), mlp(2, 4)), TypeError, "made"),
    "autoregressive of another size": (
        lambda: flows.Autoregressive(flows.Affine(), flows.MADE(2, [3], 1)), ValueError, "made"),
    "made of no dim": (lambda: flows.MADE(0, [3], 2), ValueError, "dim"),
    "made of half a dim": (lambda: flows.MADE(1.5, [3], 2), TypeError, "dim"),
    "made of no raw": (lambda: flows.MADE(2, [3], -1), ValueError, "n_raw"),
    "made of no context": (
        lambda: flows.MADE(2, [3], 2, context_dim=-1), ValueError, "context_dim"),
    "perceptron": (lambda: flows.MLP(-1, [3], 2), ValueError, "n_in"),
    "perceptron of one width": (lambda: flows.MLP(1, 3, 2), TypeError, "widths"),
    "perceptron of no width": (lambda: flows.MLP(1, [0], 2), ValueError, "widths"),
    "perceptron of no activation": (
        lambda: flows.MLP(1, [3], 2, activation="gelu"), ValueError, "activation"),
    "constant": (lambda: flows.Constant(-1), ValueError, "n_out"),
    "checkerboard": (lambda: flows.checkerboard_mask(6, (2, 2)), ValueError, "shape"),
    "checkerboard of nothing": (lambda: flows.checkerboard_mask(0), ValueError, "dim"),
    "half of text": (lambda: flows.half_mask("a"), TypeError, "dim"),
    "leaky relu": (lambda: flows.LeakyReLU(0), ValueError, "slope"),
    "spline": (lambda: flows.RationalQuadratic(n_bins=2.5), TypeError, "n_bins"),
    "chain of nothing": (lambda: flows.Chain([]), TypeError, "layers"),
    "chain of none": (lambda: flows.Chain(None), TypeError, "layers"),
    "chain of numbers": (lambda: flows.Chain([LAYER, 3]), TypeError, "layers"),
    "chain of flows": (lambda: flows.Chain([small()]), TypeError, "layers"),
    "chain of dims": (lambda: flows.Chain([LAYER, flows.LULinear(3)]), ValueError, "dims"),
    "chain of types": (
        lambda: flows.Chain([LAYER, flows.LULinear(2).astype("float32")]), ValueError, "dtype"),
    "chain of contexts": (
        lambda: flows.Chain([flows.Planar(2, mlp(3, 5)), flows.Planar(2, mlp(2, 5))]), ValueError,
        "context_dim"),
    "chain of one twice": (lambda: flows.Chain([LAYER, LAYER]), ValueError, "distinct"),
    "chain of one twice within": (
        lambda: flows.Chain([flows.Chain([LAYER]), flows.Invert(LAYER)]), ValueError, "distinct"),
    "inverse of a number": (lambda: flows.Invert(3), TypeError, "bijection"),
    "inverse of a flow": (lambda: flows.Invert(small()), TypeError, "bijection"),
    "flow of a number": (lambda: flows.Flow(3), TypeError, "bijection"),
    "flow of no base": (lambda: flows.Flow(LAYER, 3), TypeError, "base must have dim, log_prob"),
    "flow of another base": (lambda: flows.Flow(LAYER, flows.Normal(3)), ValueError, "base"),
    "normal": (lambda: flows.Normal(0), ValueError, "dim"),
    "normal without scale": (lambda: flows.Normal(2, 0.0, 0.0), ValueError, "scale"),
    "normal of long means": (lambda: flows.Normal(2, [1.0, 2.0, 3.0]), ValueError, "mean"),
    "normal of nan": (lambda: flows.Normal(2, math.nan), ValueError, "mean"),
    "normal of inf": (lambda: flows.Normal(2, 0.0, math.inf), ValueError, "scale"),
    "mixture of a row": (lambda: flows.GaussianMixture([1.0, 2.0]), ValueError, "means"),
    "mixture of nan": (lambda: flows.GaussianMixture([[math.nan]]), ValueError, "means"),
    "mixture of no scale": (lambda: flows.GaussianMixture([[1.0]], 0.0), ValueError, "scales"),
    "mixture of infinite scale": (
        lambda: flows.GaussianMixture([[1.0]], math.inf), ValueError, "scales"),
    "mixture of many scales": (
        lambda: flows.GaussianMixture([[1.0]], [1.0, 2.0, 3.0]), ValueError, "scales"),
    "mixture of heavy weights": (
        lambda: flows.GaussianMixture([[1.0], [2.0]], 1.0, [0.5, 0.6]), ValueError, "weights"),
    "mixture of negative weights": (
        lambda: flows.GaussianMixture([[1.0], [2.0]], 1.0, [1.5, -0.5]), ValueError, "weights"),
    "uniform": (lambda: flows.Uniform([1.0], [0.0]), ValueError, "high"),
    "uniform of a number": (lambda: flows.Uniform(0.0, 1.0), ValueError, "low"),
    "uniform of inf": (lambda: flows.Uniform([0.0], [math.inf]), ValueError, "high"),
    "another type": (lambda: LAYER.astype("int32"), ValueError, "dtype"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "match"), BAD_LAYERS.values(), ids=BAD_LAYERS)
def test_bad_layers(make, kind, match):
    with pytest.raises(kind, match=match):
        make()


# ----------------------------------------------------------------------------------------- backward

BAD_COTANGENTS = {
    "rows": (X[:3], 0.0, ValueError, "grad must"),
    "one row": (X[:1], 0.0, ValueError, "grad must"),
    "a row": (X[0], 0.0, ValueError, "grad must"),
    "columns": (X[:, :1], 0.0, ValueError, "grad must"),
    "nan": (X * math.nan, 0.0, ValueError, "grad must be finite"),
    "text": ("a", 0.0, TypeError, "grad must"),
    "length of log_det": (X, np.zeros(3), ValueError, "grad_log_det must"),
    "nan of log_det": (X, math.nan, ValueError, "grad_log_det must"),
    "text of log_det": (X, "a", TypeError, "grad_log_det must"),
}


@pytest.mark.parametrize("name", ["planar", "real_nvp", "maf"])
@pytest.mark.parametrize(
    ("grad", "grad_log_det", "kind", "match"), BAD_COTANGENTS.values(), ids=BAD_COTANGENTS
)
def test_bad_cotangents(name, grad, grad_log_det, kind, match):
    bijection = small(name).bijection
    _, _, tape = bijection.forward_tape(X)
    with pytest.raises(kind, match=match):
        bijection.backward(tape, grad, grad_log_det)


def test_tapes_of_others():
    _, _, tape = small().bijection.forward_tape(X)
    for other in (LAYER, small().bijection):
        with pytest.raises(ValueError, match="tape must come from this bijection"):
            other.backward(tape, X, 0.0)


# -------------------------------------------------------------------------------------------- files


@pytest.fixture
def stored(tmp_path):
    """The parts of a file, and a function that writes them again, changed."""
    path = tmp_path / "flow.npz"
    cases.fill(small("maf", normalization="batchnorm")).save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "header"}
        header = json.loads(str(archive["header"]))

    def write(header=header, arrays=arrays):
        np.savez(path, header=np.array(json.dumps(header)), **arrays)
        return path

    return header, arrays, write


def test_the_parts_make_the_file(stored):
    flow = flows.load(stored[2]())
    assert flow.log_prob(X).shape == (50,)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        flows.load(tmp_path / "flow.npz")
    with pytest.raises(OSError, match=r"."):
        flows.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY", bytes(1000)])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "flow.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"flow\.npz"):
        flows.load(path)


def test_files_of_others(stored, tmp_path):
    header, _, write = stored
    with pytest.raises(FileFormatError, match="version 2"):
        flows.load(write({**header, "format_version": 2}))
    with pytest.raises(FileFormatError, match="'fastrbm-rbm'"):
        flows.load(write({**header, "format": "fastrbm-rbm"}))
    import fastrbm

    fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(2)).save(tmp_path / "rbm.npz")
    with pytest.raises(FileFormatError, match="not 'fastrbm-flow'"):
        flows.load(tmp_path / "rbm.npz")
    small().save(tmp_path / "a flow.npz")
    with pytest.raises(FileFormatError, match="'fastrbm-flow'"):
        fastrbm.RBM.load(tmp_path / "a flow.npz")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files(stored, share):
    path = stored[2]()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match=r"flow\.npz"):
        flows.load(path)


def edited(header, *keys, value):
    """A deep copy of the header with one entry of its tree replaced."""
    tree = json.loads(json.dumps(header))
    inner = tree
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return tree


LAYERS = ("flow", "bijection", "layers")
BAD_TREES = {
    "unknown class": ((*LAYERS, 0, "class"), "Fancy", "Fancy"),
    "a class of Python": ((*LAYERS, 0, "class"), "os.system", "os.system"),
    "class of no name": ((*LAYERS, 0, "class"), 3, None),
    "class of a list": ((*LAYERS, 0, "class"), ["Invert"], None),
    "an option too many": ((*LAYERS, 0, "colour"), "red", "colour"),
    "an option of another type": ((*LAYERS, -1, "dim"), "two", "dim"),
    "no tree": (("flow",), None, None),
    "a list for a tree": (("flow",), [], None),
    "text for a tree": (("flow",), "Flow", None),
    "a layer for a flow": (("flow",), {"class": "Permutation", "order": [1, 0]}, None),
    "a base for a flow": (("flow",), {"class": "Normal", "dim": 2}, None),
    "no layers": (LAYERS, [], "layers"),
    "text for a layer": ((*LAYERS, 0), "Permutation", None),
    "another base": (("flow", "base"), {"class": "Normal", "dim": 3}, "base"),
    "a layer for a base": (("flow", "base"), {"class": "Permutation", "order": [1, 0]}, None),
    "no base": (("flow", "base"), 3, "base"),
    "another type": (("dtype",), "float16", "dtype"),
    "no type": (("dtype",), None, "dtype"),
    "another size": ((*LAYERS, 0, "bijection", "made", "widths"), [5, 4], None),
    "no map": ((*LAYERS, 0, "bijection", "map"), None, "map"),
}


@pytest.mark.parametrize(("keys", "value", "match"), BAD_TREES.values(), ids=BAD_TREES)
def test_bad_trees(stored, keys, value, match):
    header, _, write = stored
    with pytest.raises(FileFormatError, match=r"flow\.npz") as caught:
        flows.load(write(edited(header, *keys, value=value)))
    assert match is None or match in str(caught.value)


@pytest.mark.parametrize("tree", [{"class": "Permutation", "order": [1, 0]},
                                  {"class": "Normal", "dim": 2}, [], None])  # fmt: skip
def test_files_of_no_flow(stored, tree):
    """Whole as they are, but what they hold has no log_prob of a flow."""
    header, _, write = stored
    with pytest.raises(FileFormatError, match=r"flow\.npz"):
        flows.load(write({**header, "flow": tree}, arrays={}))


@pytest.mark.parametrize("key", ["flow", "dtype", "format", "format_version"])
def test_missing_keys(stored, key):
    header, _, write = stored
    with pytest.raises(FileFormatError, match=r"flow\.npz"):
        flows.load(write({name: value for name, value in header.items() if name != key}))


@pytest.mark.parametrize("kind", ["parameters", "state"])
def test_bad_arrays(stored, kind):
    """Missing, too many, of another shape or type, not finite: named."""
    _, arrays, write = stored
    name = next(name for name in arrays if name.startswith(kind))
    short = name.partition("/")[2]
    array = arrays[name]
    bad = {
        "missing": {key: value for key, value in arrays.items() if key != name},
        "shape": {**arrays, name: array[..., None]},
        "type": {**arrays, name: array.astype(np.float32)},
        "integers": {**arrays, name: array.astype(int)},
        "nan": {**arrays, name: np.full_like(array, math.nan)},
    }
    for changed in bad.values():
        with pytest.raises(FileFormatError, match=r"flow\.npz") as caught:
            flows.load(write(arrays=changed))
        assert short in str(caught.value)
    with pytest.raises(FileFormatError, match="colour"):
        flows.load(write(arrays={**arrays, f"{kind}/colour": np.zeros(2)}))


class Exploit:
    """What unpickling would run."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_nothing_is_unpickled(stored, tmp_path, monkeypatch):
    _, arrays, write = stored
    monkeypatch.chdir(tmp_path)
    name = next(iter(arrays))
    for content in (Exploit(), [Exploit()]):
        with pytest.raises(FileFormatError):
            flows.load(write(arrays={**arrays, name: np.array(content, dtype=object)}))
    np.savez("header.npz", header=np.array(Exploit(), dtype=object), **arrays)
    with pytest.raises(FileFormatError):
        flows.load("header.npz")
    with open("pickle.npz", "wb") as file:
        pickle.dump(Exploit(), file)
    with pytest.raises(FileFormatError):
        flows.load("pickle.npz")
    assert not os.path.exists("unpickled")


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        small().save(tmp_path / "nowhere" / "flow.npz")
    with pytest.raises(IsADirectoryError):
        small().save(tmp_path)
    assert os.listdir(tmp_path) == []


class Foreign:
    """A base that is no module."""

    dim = 2
    log_prob, sample = flows.Normal(2).log_prob, flows.Normal(2).sample


def test_bases_of_ones_own_are_not_saved(tmp_path):
    """Without a config there is nothing to write, and no half of a file."""
    with pytest.raises(TypeError, match=r"cannot save .*Foreign"):
        flows.Flow(LAYER, Foreign()).save(tmp_path / "flow.npz")
    assert os.listdir(tmp_path) == []


class CountedNormal(flows.Normal):
    """A module of a user's own is saved like those of the package."""


def test_modules_of_ones_own_are_saved(tmp_path):
    flow = flows.Flow(LAYER, CountedNormal(2, 1.0, 2.0))
    flow.save(tmp_path / "flow.npz")
    found = flows.load(tmp_path / "flow.npz")
    assert type(found.base) is CountedNormal
    np.testing.assert_array_equal(found.log_prob(X), flow.log_prob(X))
