"""Every family of flows at parameters of order one, and the properties that all of them have.

A property is a plain function of a `Subject` that raises AssertionError: test_flows.py asks it of
every family, test_flow_mutants.py of broken copies, which must not pass.

Parameters of order one: at the start a flow is nearly the identity, and a log-determinant with a
missing term is right there to many digits.
"""

import dataclasses
import itertools
import json
import math
import re

import numpy as np
from scipy import stats
from scipy.special import expit, log_expit, logit

from fastrbm import flows

DIMS, CONTEXT_DIMS = (1, 2, 5), (0, 3)
SMALL = {"depth": 2, "width": 7}


@dataclasses.dataclass
class Subject:
    """A bijection, points that it can take and give, and the context of each."""

    bijection: object
    x: np.ndarray
    y: np.ndarray
    context: np.ndarray | None = None
    one_way: bool = False

    @property
    def sides(self):
        """Both directions, with the points that each starts from; `forward` alone if one_way."""
        both = (("forward", self.x), ("inverse", self.y))
        return both[:1] if self.one_way else both

    def call(self, side, points, context=None):
        context = self.context if context is None else context
        return getattr(self.bijection, side)(points, context=context)

    def tape(self, side, points):
        return getattr(self.bijection, f"{side}_tape")(points, context=self.context)

    def rows(self, index):
        """The same with some of the points."""
        context = None if self.context is None else self.context[index]
        return dataclasses.replace(self, x=self.x[index], y=self.y[index], context=context)


# ------------------------------------------------------------------------------------- the families


@dataclasses.dataclass(frozen=True)
class Case:
    """How to make a flow of one family, and what is known of it.

    build(dim, context_dim) -> Flow at its start. `onto`: every row is in the range; `everywhere`:
    every row is in the domain. Where they are not, points are made by the map itself. `kinks`: the
    density has some, which cost the integral digits. `chart`: a name of CHARTS.
    """

    build: object
    dims: tuple = DIMS
    context_dims: tuple = (0,)
    onto: bool = True
    everywhere: bool = True
    kinks: bool = False
    chart: str = "plane"

    def flow(self, dim=2, context_dim=0, seed=0):
        """A flow with parameters and state of order one."""
        return fill(self.build(dim, context_dim), seed)

    def subject(self, dim=2, context_dim=0, n=12, seed=0):
        """Its bijection with points on both sides."""
        bijection = self.flow(dim, context_dim, seed).bijection
        generator = np.random.default_rng([seed, 1])
        # Near the ends of a range all derivatives grow without bound: nearer to zero there.
        size = 1.5 if self.onto and self.everywhere else 0.7
        x, y = size * generator.standard_normal((2, n, dim))
        context = generator.standard_normal((n, context_dim)) if context_dim else None
        if not self.everywhere:
            x = bijection.inverse(x, context=context)[0]
        if not self.onto:
            y = bijection.forward(y, context=context)[0]
        return Subject(bijection, x, y, context)


def fill(module, seed=0):
    """Set parameters and state of a module (or a flow) to numbers of order one, and return it.

    Matrices are N(0, 1 / fan_in), so that what they make of rows of order one is of order one too;
    vectors are N(0, 0.25), and scales the exponential of that.
    """
    generator = np.random.default_rng([seed, 0])
    for name, array in (module.parameters | module.state).items():
        kind = name.rpartition(".")[2]
        value = generator.standard_normal(array.shape) * 0.5
        value += np.copysign(0.02, value)  # a bounded log-scale has a kink at zero, for all rows
        if kind == "set":
            value = np.ones(array.shape)
        elif kind == "factor":
            value = np.tril(value, -1) + np.diag(np.exp(np.diagonal(value)))
        elif kind == "deviation":
            value = np.exp(value)
        elif array.ndim == 2:
            value *= 2 / np.sqrt(max(len(array), 1))
        array[...] = value
    return module


def constructed(constructor, kinks=False, chart="plane", **options):
    """A case of a constructor, with every dim and with and without a context."""

    def build(dim, context_dim):
        return constructor(dim, rng=3, context_dim=context_dim, **SMALL | options)

    return Case(build, context_dims=CONTEXT_DIMS, kinks=kinks, chart=chart)


def layer(build, dims=DIMS, **more):
    """A case of a single layer without context."""
    return Case(lambda dim, context_dim: flows.Flow(build(dim)), dims, **more)


def residual(kind):
    def build(dim, context_dim):
        size = kind.raw_size(dim)
        conditioner = (
            flows.MLP(context_dim, [6], size, activation="tanh", rng=4) if context_dim else None
        )
        return flows.Flow(kind(dim, conditioner, rng=4))

    return Case(build, context_dims=CONTEXT_DIMS)


def elementwise(map, **more):
    def build(dim, context_dim):
        size = map().n_raw * dim
        conditioner = (
            flows.MLP(context_dim, [6], size, activation="tanh", rng=5) if context_dim else None
        )
        return flows.Flow(flows.Elementwise(dim, map(), conditioner))

    return Case(build, context_dims=CONTEXT_DIMS if map().n_raw else (0,), **more)


def coupling(map, activation="tanh", **more):
    def build(dim, context_dim):
        mask = flows.half_mask(dim)
        n_kept = int(mask.sum())
        size = map().n_raw * (dim - n_kept)
        return flows.Flow(
            flows.Coupling(
                mask,
                map(),
                flows.MLP(n_kept + context_dim, [6], size, activation=activation, rng=6),
            )
        )

    return Case(build, context_dims=CONTEXT_DIMS, **more)


def autoregressive(map, widths=(6,), activation="tanh", **more):
    def build(dim, context_dim):
        made = flows.MADE(
            dim, list(widths), map().n_raw, context_dim=context_dim, activation=activation, rng=7
        )
        return flows.Flow(flows.Autoregressive(map(), made))

    return Case(build, context_dims=CONTEXT_DIMS, **more)


def spline():
    """Few and wide bins, and an interval that a part of the points is outside of."""
    return flows.RationalQuadratic(n_bins=5, bound=2.5)


def mixed(dim):
    """A chain of different kinds, inverted ones and chains among them."""
    inner = flows.Chain([flows.LULinear(dim), flows.Invert(flows.Planar(dim, rng=8))])
    first = flows.Elementwise(dim, flows.Arcsinh())
    return flows.Chain([first, flows.ActNorm(dim), inner, flows.Invert(inner_radial(dim))])


def inner_radial(dim):
    return flows.Chain([flows.Radial(dim, rng=9), flows.Permutation(np.roll(np.arange(dim), 1))])


CONSTRUCTORS = {
    "planar": constructed(flows.planar),
    "radial": constructed(flows.radial),
    "nice": constructed(flows.nice, kinks=True),
    "nice-checkerboard-tanh": constructed(flows.nice, mask="checkerboard", activation="tanh"),
    "real_nvp": constructed(flows.real_nvp, kinks=True),
    "real_nvp-tanh": constructed(flows.real_nvp, activation="tanh"),
    "real_nvp-checkerboard": constructed(flows.real_nvp, kinks=True, mask="checkerboard"),
    "real_nvp-actnorm": constructed(flows.real_nvp, normalization="actnorm", activation="tanh"),
    "real_nvp-batchnorm": constructed(flows.real_nvp, kinks=True, normalization="batchnorm"),
    # Scales that are exponentials of linear functions make tails that fall off slowly.
    "real_nvp-linear": constructed(
        flows.real_nvp, kinks=True, chart="heavy", depth=1, n_hidden=0, normalization="actnorm"
    ),
    "maf": constructed(flows.maf, kinks=True),
    "maf-tanh": constructed(flows.maf, activation="tanh"),
    "maf-batchnorm": constructed(
        flows.maf, kinks=True, normalization="batchnorm", activation="tanh"
    ),
    "maf-linear": constructed(flows.maf, depth=1, n_hidden=0),
    "iaf": constructed(flows.iaf, kinks=True),
    "iaf-tanh": constructed(flows.iaf, activation="tanh", n_hidden=1),
    "nsf": constructed(flows.nsf, kinks=True, n_bins=5, bound=2.5, activation="tanh", linear=True),
    "nsf-relu": constructed(flows.nsf, kinks=True, n_bins=8, bound=4.0, linear=False),
    "nsf-autoregressive": constructed(
        flows.nsf, kinks=True, n_bins=4, bound=2.0, autoregressive=True
    ),
}

LAYERS = {
    "Planar": residual(flows.Planar),
    "Radial": residual(flows.Radial),
    "LULinear": layer(flows.LULinear),
    "Permutation": layer(lambda dim: flows.Permutation(np.roll(np.arange(dim), 1))),
    "Reverse": layer(flows.Reverse),
    "Whitening": layer(flows.Whitening),
    "ActNorm": layer(flows.ActNorm),
    "BatchNorm": layer(flows.BatchNorm),
    "Elementwise-Affine": elementwise(flows.Affine),
    "Elementwise-Shift": elementwise(flows.Shift),
    "Elementwise-RationalQuadratic": elementwise(spline, kinks=True),
    "Elementwise-Tanh": elementwise(flows.Tanh, onto=False, chart="tanh"),
    "Elementwise-Sigmoid": elementwise(flows.Sigmoid, onto=False, chart="unit"),
    "Elementwise-Softplus": elementwise(flows.Softplus, onto=False, chart="positive"),
    "Elementwise-Exp": elementwise(flows.Exp, onto=False, chart="positive"),
    "Elementwise-LeakyReLU": elementwise(lambda: flows.LeakyReLU(0.3)),
    "Elementwise-Arcsinh": elementwise(flows.Arcsinh),
    "Coupling-Affine": coupling(flows.Affine),
    "Coupling-Shift": coupling(flows.Shift, "relu"),
    "Coupling-RationalQuadratic": coupling(spline, kinks=True),
    "Autoregressive-Affine": autoregressive(flows.Affine),
    "Autoregressive-Shift": autoregressive(flows.Shift, (9, 6), "relu"),
    "Autoregressive-RationalQuadratic": autoregressive(spline, (6, 6), kinks=True),
    "Chain": layer(mixed),
}


def inverted(case):
    """The same layer the other way round."""

    def build(dim, context_dim):
        return flows.Flow(flows.Invert(case.build(dim, context_dim).bijection))

    return dataclasses.replace(
        case, build=build, dims=(2,), context_dims=case.context_dims[-1:],
        onto=case.everywhere, everywhere=case.onto, chart="plane",
    )  # fmt: skip


INVERTED = {f"Invert-{name}": inverted(case) for name, case in LAYERS.items()}
# The inverse of arcsinh makes a normal number one whose logarithm is nearly so.
for name in ("Invert-Elementwise-Arcsinh", "Invert-Chain"):
    INVERTED[name] = dataclasses.replace(INVERTED[name], chart="heavy")
CASES = CONSTRUCTORS | LAYERS | INVERTED
#: name -> (case, dim, context_dim), for every dim and context_dim that a case has.
SETTINGS = {
    f"{name}-{dim}-{context_dim}": (case, dim, context_dim)
    for name, case in CASES.items()
    for dim in case.dims
    for context_dim in case.context_dims
}


# -------------------------------------------------------------------------------------- differences

STEP = 2.0**-10


class Differences:
    """The derivative of a function of t at t = 0 from values alone: function(t) -> (n, k).

    Central differences with steps h, h / 2 and h / 4, of which two rounds of Richardson's
    extrapolation take the errors of order h^2 and h^4: ten digits and more.

    A kink between the points (of relu and LeakyReLU; of slopes, at the knots of a spline and where
    a bounded log-scale is zero) makes the rounds disagree. Such rows are left out, `smooth` being
    False: told from the values alone, whatever the gradients under test say.
    """

    def __init__(self, function, step=STEP):
        self.start = function(0.0)
        self.steps = [step, step / 2, step / 4]
        self.ahead = [function(h) for h in self.steps]
        self.behind = [function(-h) for h in self.steps]
        first = [
            (a - b) / (2 * h) for a, b, h in zip(self.ahead, self.behind, self.steps, strict=True)
        ]
        second = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(first)]
        self.slope = (16 * second[1] - second[0]) / 15
        spread = np.abs(second[1] - second[0]) / np.maximum(1, np.abs(self.slope))
        self.smooth = (spread < 1e-8).all(axis=-1)
        assert self.smooth.mean() >= 0.5, "too few rows away from kinks"

    def kept(self, array):
        """The sum of an array over the smooth rows."""
        return array[self.smooth].sum(axis=0)

    def check(self, slope, tolerance):
        """Assert that the sum over smooth rows has the derivative `slope` (k,); return the error.

        Sharply by the extrapolated one. And by Taylor, with half and half of h: what is left of
        f(h) after f(0) + h f' is at most h^2 times the curvature that second differences show.
        """
        numeric, start = self.kept(self.slope), self.kept(self.start)
        error = np.max(np.abs(slope - numeric) / np.maximum(1, np.abs(numeric)))
        within(error, tolerance)
        ahead, behind = [[self.kept(f) for f in side] for side in (self.ahead, self.behind)]
        whole, half, _ = self.steps
        curvature = np.abs(ahead[0] - 2 * start + behind[0]) / whole**2
        curvature += np.abs(ahead[0] - 2 * ahead[1] + start) / half**2
        rounding = 1e-14 * (1 + self.kept(np.abs(self.start)))
        for f, h in zip(ahead, self.steps, strict=True):
            rest = np.abs(f - start - h * slope)
            assert (rest <= h**2 * curvature + rounding).all(), f"{rest} is not of order h^2"
        return error


# ------------------------------------------------------------------------- properties of bijections


def relative(found, expected):
    """The largest difference, relative to the larger of 1 and what is expected."""
    scale = np.maximum(1, np.abs(expected))
    return float(np.max(np.abs(found - expected) / scale, initial=0.0))


def within(error, tolerance):
    """Assert that an error, or each of several, is <= tolerance (NaN is not); return the worst."""
    error = float(np.max(error))
    assert error <= tolerance, f"{error:.3g} > {tolerance:.3g}"
    return error


OTHER = {"forward": "inverse", "inverse": "forward"}


def round_trip(s, tolerance=1e-11):
    """Each direction undoes the other."""
    errors = []
    for side, points in s.sides:
        back = s.call(OTHER[side], s.call(side, points)[0])[0]
        errors.append(relative(back, points))
    return within(errors, tolerance)


def log_dets_cancel(s, tolerance=1e-11):
    """log|det| of the map and of its inverse sum to zero at points that belong together."""
    errors = []
    for side, points in s.sides:
        image, log_det = s.call(side, points)
        errors.append(relative(log_det + s.call(OTHER[side], image)[1], np.zeros(len(points))))
    return within(errors, tolerance)


def jacobians(s, side, points):
    """(n, dim, dim): rows from `backward`, one unit cotangent after the other."""
    n, dim = points.shape
    _, _, tape = s.tape(side, points)
    unit = np.eye(dim)
    rows = [s.bijection.backward(tape, np.tile(unit[i], (n, 1)), 0.0)[0] for i in range(dim)]
    return np.stack(rows, axis=1)


def log_det_is_of_the_jacobian(s, tolerance=1e-11, numeric_tolerance=1e-8):
    """The Jacobian is that of differences of values, and its slogdet is the log-determinant.

    So is, with the digits that differences have, the slogdet of the differences themselves.
    """
    errors = []
    for side, points in s.sides:
        n, dim = points.shape
        found, numeric = jacobians(s, side, points), np.empty((n, dim, dim))
        smooth = np.ones(n, bool)
        for j, unit in enumerate(np.eye(dim)):
            column = Differences(
                lambda t, side=side, points=points, unit=unit: s.call(side, points + t * unit)[0]
            )
            numeric[:, :, j] = column.slope
            smooth &= column.smooth
        assert smooth.mean() >= 0.4, "too few rows away from kinks"
        log_det = s.call(side, points)[1]
        within(relative(found[smooth], numeric[smooth]), numeric_tolerance)
        within(relative(np.linalg.slogdet(numeric)[1][smooth], log_det[smooth]), numeric_tolerance)
        errors.append(relative(np.linalg.slogdet(found)[1], log_det))
    return within(errors, tolerance)


def well_conditioned(s, most=1e5):
    """The subject with the points where rounding is not worth many digits, on either side.

    Networks of relu that feed splines make Jacobians of condition 1e12 at some points far out.
    """
    conditions = [np.linalg.cond(jacobians(s, side, points)) for side, points in s.sides]
    return s.rows(np.max(conditions, axis=0) < most)


def cotangents(s, seed=2):
    generator = np.random.default_rng(seed)
    return generator.standard_normal(s.x.shape), generator.standard_normal(len(s.x))


def inputs_get_gradients(s, tolerance=1e-8):
    """Value and log-determinant, each by itself, by the points and by the context."""
    worst = 0.0
    u, w = cotangents(s)
    for side, points in s.sides:
        _, _, tape = s.tape(side, points)
        by_value = s.bijection.backward(tape, u, 0.0)
        by_log_det = s.bijection.backward(tape, 0 * u, w)
        for index, inputs in enumerate((points, s.context)):
            if inputs is None:
                assert by_value[index] is by_log_det[index] is None
                continue
            d = unit_directions(inputs.shape)

            def losses(t, side=side, points=points, index=index, d=d):
                moved = [points, s.context]
                moved[index] = moved[index] + t * d
                return row_losses(u, w, *s.call(side, *moved))

            # Every row has a gradient of its own, and is compared by itself.
            differences = Differences(losses)
            slope = np.stack([(d * by_value[index]).sum(1), (d * by_log_det[index]).sum(1)], axis=1)
            kept = differences.smooth
            within(relative(slope[kept], differences.slope[kept]), tolerance)
            worst = max(worst, differences.check(differences.kept(slope), tolerance))
    return worst


def unit_directions(shape, seed=3):
    """A direction of length one for each row."""
    d = np.random.default_rng(seed).standard_normal(shape)
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def row_losses(u, w, y, log_det):
    """The two losses of every row: one of the value, one of the log-determinant."""
    return np.stack([(u * y).sum(axis=1), w * log_det], axis=1)


def parameters_get_gradients(s, tolerance=1e-8):
    """Value and log-determinant, each by itself, by every array of parameters by itself."""
    worst = 0.0
    generator = np.random.default_rng(4)
    u, w = cotangents(s)
    for side, points in s.sides:
        _, _, tape = s.tape(side, points)
        for name, array in s.bijection.parameters.items():
            if not array.size:
                continue
            d = generator.standard_normal(array.shape)
            d /= np.linalg.norm(d)
            original = array.copy()

            def losses(t, side=side, points=points, array=array, d=d, original=original):
                array[...] = original + t * d
                answer = row_losses(u, w, *s.call(side, points))
                array[...] = original
                return answer

            # Gradients are sums over rows: those next to a kink get no cotangent.
            differences = Differences(losses)
            kept = differences.smooth
            by_value = s.bijection.backward(tape, u * kept[:, None], 0.0)[2]
            by_log_det = s.bijection.backward(tape, 0 * u, w * kept)[2]
            slope = np.array([(d * by_value[name]).sum(), (d * by_log_det[name]).sum()])
            try:
                worst = max(worst, differences.check(slope, tolerance))
            except AssertionError as error:
                raise AssertionError(f"{side}, {name}: {error}") from None
    return worst


def vjps_are_linear(s, tolerance=1e-12):
    """Twice one pair of cotangents less another gives just that of the products."""
    u, w = cotangents(s)
    v, r = cotangents(s, seed=5)
    errors = []
    for side, points in s.sides:
        _, _, tape = s.tape(side, points)
        one, other, both = (
            gradients(s, tape, *pair) for pair in ((u, w), (v, r), (2 * u - v, 2 * w - r))
        )
        for a, b, c in zip(one, other, both, strict=True):
            scale = max(1, np.abs(a).max(initial=0), np.abs(b).max(initial=0))
            errors.append(relative((c - (2 * a - b)) / scale, np.zeros(c.shape)))
    return within(errors, tolerance)


def gradients(s, tape, u, w):
    """All that `backward` gives, in a list."""
    by_points, by_context, by_parameters = s.bijection.backward(tape, u, w)
    contexts = [] if by_context is None else [by_context]
    return [by_points, *contexts, *by_parameters.values()]


def gradients_of_there_and_back(s, tolerance=1e-8):
    """There and back is the identity with log-determinant zero, whatever parameters and context.

    So the transposed Jacobians undo each other, and what parameters and context receive cancels:
    the gradients of both directions, held against each other without differences.
    """
    u, w = cotangents(s)
    errors = []
    for side, points in s.sides:
        image, _, there = s.tape(side, points)
        _, _, back = s.tape(OTHER[side], image)
        last = gradients(s, back, u, w)
        first = gradients(s, there, last[0], w)
        scale = np.maximum(1, np.abs(last[0]).max(axis=1, keepdims=True))
        errors.append(relative(first[0] / scale, u / scale))
        for a, b in zip(first[1:], last[1:], strict=True):
            size = max(1, np.abs(a).max(initial=0))
            errors.append(relative((a + b) / size, np.zeros(a.shape)))
    return within(errors, tolerance)


# ------------------------------------------------------------------------ properties of the calling


def nothing_changes(s):
    """Inputs, cotangents, parameters and state keep their bits; results are memory of their own."""
    u, w = cotangents(s)
    given = [a for a in (s.x, s.y, s.context, u, w) if a is not None]
    owned = [*s.bijection.parameters.values(), *s.bijection.state.values()]
    before = [array.tobytes() for array in given + owned]
    for side, points in s.sides:
        first, log_det, tape = s.tape(side, points)
        copies = first.copy(), log_det.copy()
        once = [array.copy() for array in gradients(s, tape, u, w)]
        results = [first, log_det, *gradients(s, tape, u, w)]
        for array, again in zip(results[2:], once, strict=True):
            np.testing.assert_array_equal(array, again, err_msg="a tape can be used twice")
        for array in results:
            assert not any(np.shares_memory(array, other) for other in given + owned)
            array[...] = 9.0  # a caller may write to what it was given
        for found, expected in zip(s.call(side, points), copies, strict=True):
            np.testing.assert_array_equal(found, expected, err_msg="the same call, the same bits")
    assert [array.tobytes() for array in given + owned] == before


def rows_stand_alone(s, tolerance=1e-12):
    """Every row has the result that it has alone; one of a batch and a single row keep shapes."""
    f, dim = s.bijection, s.x.shape[1]
    for side, points in s.sides:
        out, log_det = s.call(side, points)
        assert (out.shape, log_det.shape) == (points.shape, (len(points),))
        for i in (0, len(points) - 1):
            context = None if s.context is None else s.context[i]
            one = getattr(f, side)(points[i], context=context)
            assert (one[0].shape, np.shape(one[1])) == ((dim,), ())
            batch = getattr(f, side)(
                points[i : i + 1], context=context
            )  # one context serves all rows
            assert (batch[0].shape, batch[1].shape) == ((1, dim), (1,))
            for found in (one[0], batch[0][0]):
                within(relative(found, out[i]), tolerance)
            for found in (one[1], batch[1][0]):
                within(relative(found, log_det[i]), tolerance)
        single = s.rows(0)
        _, _, tape = single.tape(side, points[0])
        by_point, by_context, _ = f.backward(tape, np.ones(dim), 1.0)
        assert by_point.shape == (dim,)
        assert np.shape(by_context) == np.shape(single.context)


def no_rows(s):
    """An empty batch is one: shapes are kept, and parameters receive nothing."""
    empty, dim = s.rows(slice(0)), s.x.shape[1]
    for side, points in empty.sides:
        image, log_det, tape = empty.tape(side, points)
        assert (image.shape, log_det.shape) == ((0, dim), (0,))
        assert image.dtype == log_det.dtype == s.bijection.dtype
        by_points, by_context, by_parameters = s.bijection.backward(tape, image, log_det)
        assert by_points.shape == (0, dim)
        assert np.shape(by_context) == np.shape(empty.context)
        for name, array in s.bijection.parameters.items():
            np.testing.assert_array_equal(by_parameters[name], np.zeros_like(array))


def single_precision(s, tolerance=2e-4):
    """A float32 copy gives float32 throughout, and the numbers of the float64 one."""
    u, w = cotangents(s)
    narrow = dataclasses.replace(s, bijection=s.bijection.astype("float32"))
    assert s.bijection.dtype == np.float64
    assert narrow.bijection.ravel().dtype == np.float32
    errors = []
    for side, points in s.sides:
        wide, log_det, tape = s.tape(side, points)
        found = narrow.tape(side, points)  # converted
        assert found[0].dtype == found[1].dtype == np.float32
        errors += [relative(found[0], wide), relative(found[1], log_det)]
        for array, expected in zip(
            gradients(narrow, found[2], u, w), gradients(s, tape, u, w), strict=True
        ):
            assert array.dtype == np.float32
            scale = max(1, np.abs(expected).max(initial=0))
            errors.append(0.1 * relative(array / scale, expected / scale))
        assert s.call(side, points.astype(np.float32))[0].dtype == np.float64
    return within(errors, tolerance)


# -------------------------------------------------------------------------- properties of densities


@dataclasses.dataclass(frozen=True)
class Chart:
    """A map of the line onto the range of an entry: t -> x and log dx/dt, and back."""

    there: object
    back: object


CHARTS = {
    "plane": Chart(lambda t: (t, np.zeros_like(t)), lambda x: x),
    "positive": Chart(lambda t: (np.exp(t), t), np.log),
    "unit": Chart(lambda t: (expit(t), log_expit(t) + log_expit(-t)), logit),
    "tanh": Chart(lambda t: (np.tanh(t), -2 * np.log(np.cosh(t))), np.arctanh),
    "heavy": Chart(lambda t: (np.sinh(t), np.log(np.cosh(t))), np.arcsinh),
}


def extent(flow, context=None, chart="plane"):
    """Corners of a box, on the chart, that holds what the flow draws and far more."""
    drawn = CHARTS[chart].back(flow.sample(2000, rng=11, context=context))
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    return low - 0.6 * (high - low), high + 0.6 * (high - low)


def density_on(flow, context=None, chart="plane"):
    """The function t -> density of the flow in the coordinates of the chart."""

    def density(t):
        x, log_slopes = CHARTS[chart].there(t)
        return np.exp(flow.log_prob(x, context=context) + log_slopes.sum(axis=1))

    return density


def product(*axes):
    """The points (n, dim) of a grid."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def trapezoid(density, low, high, n):
    """By the sum over a grid: exact to rounding where a smooth density falls to zero.

    Zero, where LeakyReLU jumps, is in the middle between points.
    """
    spacing = (high - low) / n
    first = np.floor(low / spacing) + 0.5
    points = product(*(h * (k + np.arange(n)) for h, k in zip(spacing, first, strict=True)))
    return density(points).sum() * spacing.prod()


def adaptive(density, low, high, tolerance=1e-7, n=24, levels=12):
    """By Gauss's rule of 3 x 3 points on squares that are cut where four of them disagree with one.

    For densities with kinks in two dimensions: work goes to the squares that a kink runs through.
    """
    nodes, weights = np.polynomial.legendre.leggauss(3)
    nodes, weights = product(nodes, nodes), np.outer(weights, weights).ravel()
    half, total = (high - low) / (2 * n), 0.0
    centres = low + half * (2 * product(np.arange(n), np.arange(n)) + 1)

    def rule(centres, half):
        values = density((centres[:, None] + nodes * half).reshape(-1, 2))
        return values.reshape(len(centres), -1) @ weights * half.prod()

    whole = rule(centres, half)
    for _ in range(levels):
        half = half / 2
        quarters = centres[:, None] + half * product([-1, 1], [-1, 1])
        fine = rule(quarters.reshape(-1, 2), half).reshape(-1, 4)
        cut = np.abs(fine.sum(axis=1) - whole) > tolerance
        total += fine[~cut].sum()
        centres, whole = quarters[cut].reshape(-1, 2), fine[cut].ravel()
        if not len(centres):
            break
    return total + whole.sum()


def integrates_to_one(flow, tolerance=1e-6, n=None, context=None, chart="plane"):
    """The integral of exp(log_prob): over a grid, and without n adaptively."""
    density, box = density_on(flow, context, chart), extent(flow, context, chart)
    if n is None:
        mass = adaptive(density, *box, tolerance=max(1e-8, tolerance / 500))
    else:
        mass = trapezoid(density, *box, n)
    return within(abs(mass - 1), tolerance)


def draws_follow_the_density(flow, context=None, n=4000):
    """Draws pulled back are standard normal, and come with the density that log_prob gives."""
    x, log_q = flow.sample_and_log_prob(n, rng=12, context=context)
    np.testing.assert_array_equal(x, flow.sample(n, rng=12, context=context))
    within(relative(log_q, flow.log_prob(x, context=context)), 1e-9)
    z = flow.inverse(x, context=context)[0]
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > 1e-6
    for i, j in itertools.combinations(range(flow.dim), 2):
        assert stats.pearsonr(z[:, i], z[:, j]).pvalue > 1e-6


def cells_hold_their_share(flow, context=None, n=20_000, cells=6, points=60):
    """Draws fall into the cells of a grid as often as the integral of the density says.

    Nothing here goes through the map that made the draws and back.
    """
    draws = flow.sample(n, rng=13, context=context)
    inner = [np.quantile(column, np.linspace(0.02, 0.98, cells + 1)) for column in draws.T]
    low, high = np.array([edges[0] for edges in inner]), np.array([edges[-1] for edges in inner])
    nodes, weights = np.polynomial.legendre.leggauss(points)
    axes, sizes = [], []
    for edges in inner:
        half = np.diff(edges)[:, None] / 2
        axes.append((edges[:-1, None] + half * (nodes + 1)).ravel())
        sizes.append((half * weights).ravel())
    density = np.exp(flow.log_prob(product(*axes), context=context)) * product(*sizes).prod(axis=1)
    shares = density.reshape([k for _ in axes for k in (cells, points)])
    shares = shares.sum(axis=tuple(range(1, 2 * flow.dim, 2))).ravel()
    counts = np.histogramdd(draws, bins=inner)[0].ravel()
    assert ((draws < low) | (draws > high)).any(axis=1).mean() < 0.2
    often = n * shares >= 5  # all other cells, and what is outside, count as one
    counts, shares = counts[often], shares[often]
    counts, shares = np.append(counts, n - counts.sum()), np.append(shares, 1 - shares.sum())
    assert stats.chisquare(counts, n * shares).pvalue > 1e-6


def draws_repeat(flow, context=None):
    """The same seed gives the same bits, whatever was asked before; a Generator goes on."""
    first = flow.sample(9, rng=4, context=context)
    flow.log_prob(first, context=context)
    flow.sample(100, rng=5, context=context)
    again = [
        flow.sample(9, rng=4, context=context),
        flow.sample_and_log_prob(9, rng=4, context=context)[0],
        flow.sample(9, rng=(generator := np.random.default_rng(4)), context=context),
    ]
    for found in again:
        np.testing.assert_array_equal(found, first)
    for other in (
        flow.sample(9, rng=generator, context=context),
        flow.sample(9, rng=6, context=context),
    ):
        assert (other != first).all()
    assert (flow.sample(9, context=context) != flow.sample(9, context=context)).all()


# ----------------------------------------------------------------------- starts, files and splines


def order_in(text, dim):
    """The order of the columns that the permutations named in a repr make of 0 .. dim - 1."""
    order = np.arange(dim)
    for name, argument in re.findall(r"(Reverse|Permutation)\((\[.*?\]|\d+)\)", text):
        order = order[::-1] if name == "Reverse" else order[json.loads(argument)]
    return order


def starts_as_identity(flow):
    """Up to the permutations that the repr names, and free to leave: some gradient is not zero."""
    generator = np.random.default_rng(3)
    x = 2 * generator.standard_normal((20, flow.dim))
    context = generator.standard_normal((20, flow.context_dim)) if flow.context_dim else None
    order = order_in(repr(flow), flow.dim)
    for side, points, expected in (("forward", x, x[:, order]), ("inverse", x[:, order], x)):
        image, log_det = getattr(flow, side)(points, context=context)
        np.testing.assert_allclose(image, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(log_det, 0, rtol=0, atol=1e-12)
    assert np.abs(flow.nll_and_grad(x + 0.5, context=context)[1]).max() > 1e-3


def comes_back_from_a_file(flow, s, path):
    """Bit for bit: parameters, state, values, and the text that shows the flow."""
    flow.save(path)
    found = flows.load(path)
    assert type(found) is flows.Flow
    assert repr(found) == repr(flow)
    assert (found.dtype, found.context_dim) == (flow.dtype, flow.context_dim)
    for kind in ("parameters", "state"):
        ours, theirs = getattr(flow, kind), getattr(found, kind)
        assert list(ours) == list(theirs)
        for key, array in ours.items():
            assert array.dtype == theirs[key].dtype == flow.dtype
            assert array.tobytes() == theirs[key].tobytes()
    for side, points in s.sides:
        one, other = (getattr(which, side)(points, context=s.context) for which in (flow, found))
        assert [array.tobytes() for array in one] == [array.tobytes() for array in other]
    return found


def spline_knots(raw, bound, softness=2.0, least=1e-3):
    """The knots that raw widths or heights stand for, from -bound to bound."""
    parts = np.exp(np.asarray(raw) / softness)
    spans = 2 * bound * (least + (1 - least * len(raw)) * parts / parts.sum())
    return np.concatenate([[-bound], np.cumsum(spans)[:-1] - bound, [bound]])


def slow_spline(x, widths, heights, slopes, bound, softness=2.0, ends=1.0, least=1e-3):
    """Durkan et al. 2019, number by number, for one x: y and the slope."""
    k = len(widths)
    x_knots, y_knots = (spline_knots(raw, bound, softness) for raw in (widths, heights))
    inner = np.logaddexp(0, np.asarray(slopes) + math.log(math.expm1(1 - least))) + least
    derivatives = np.concatenate([[ends], inner, [ends]])
    if not -bound <= x <= bound:
        return x, 1.0
    i = min(max(np.searchsorted(x_knots, x, side="right") - 1, 0), k - 1)
    w, h = x_knots[i + 1] - x_knots[i], y_knots[i + 1] - y_knots[i]
    s, u = h / w, (x - x_knots[i]) / w
    p, q = derivatives[i : i + 2]
    below = s + (p + q - 2 * s) * u * (1 - u)
    y = y_knots[i] + h * (s * u * u + p * u * (1 - u)) / below
    slope = s * s * (q * u * u + 2 * s * u * (1 - u) + p * (1 - u) ** 2) / below**2
    return y, slope


def spline_joins_the_identity(call, bound, dtype="float64"):
    """At the ends -bound and bound, with slope one on both sides. call(x) -> y, log-slope."""
    kind = np.dtype(dtype).type
    ends = np.array([-bound, bound], dtype)
    for points in (ends, np.nextafter(ends, kind(2) * ends)):
        image, log_slope = call(points[:, None])
        np.testing.assert_array_equal(image[:, 0], points)
        np.testing.assert_array_equal(log_slope, 0)
    before = np.nextafter(ends, kind(0))
    image, log_slope = call(before[:, None])
    np.testing.assert_allclose(image[:, 0], before, rtol=8 * np.finfo(dtype).eps)
    assert (np.abs(image[:, 0]) <= bound).all()
    np.testing.assert_allclose(log_slope, 0, atol=1e-12 if dtype == "float64" else 1e-4)
