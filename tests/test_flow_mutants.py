"""The properties of flow_cases.py can fail: broken flows, each caught by the one meant for it.

The first half spoils every layer in every way that a wrapper can: a value, a log-determinant, one
gradient, memory. The second half has the mistakes that flows have had in print and in libraries,
written down from their formulas, so that none of it depends on how the package computes.
"""

import math

import flow_cases as cases
import numpy as np
import pytest

from fastrbm import flows

LAYERS = cases.LAYERS
layers = pytest.mark.parametrize("name", LAYERS)


def must_fail(check, *arguments, **options):
    with pytest.raises(AssertionError):
        check(*arguments, **options)


# -------------------------------------------------------------------------- every layer, spoilt


class Spoilt(flows.Bijection):
    """A bijection whose results go through a function before they are seen.

    spoil(method, result, inputs) -> result, where method is one of the four of the contract.
    """

    def __init__(self, inner, spoil=lambda method, result, inputs: result):
        super().__init__(inner.dim, inner.context_dim)
        self.inner, self.spoil, self.dtype = inner, spoil, inner.dtype
        self.children = {"inner": inner}

    @property
    def config(self):
        return {"inner": self.inner}

    def _forward(self, x, context):
        return self.spoil("_forward", self.inner._forward(x, context), x)

    def _inverse(self, y, context):
        return self.spoil("_inverse", self.inner._inverse(y, context), y)

    def _forward_vjp(self, tape, g, s):
        return self.spoil("_forward_vjp", self.inner._forward_vjp(tape, g, s), g)

    def _inverse_vjp(self, tape, g, s):
        return self.spoil("_inverse_vjp", self.inner._inverse_vjp(tape, g, s), g)


def spoilt(name, spoil, dim=2):
    """A layer with a context where it can have one, spoilt, and its points."""
    s = LAYERS[name].subject(dim, LAYERS[name].context_dims[-1])
    s.bijection = Spoilt(s.bijection, spoil)
    return s


def replaced(method, index, function):
    """Spoil one part of what one method returns: 0 and 1 of a call, 0 to 2 of a VJP."""

    def spoil(called, result, inputs):
        if called != method:
            return result
        parts = list(result)
        parts[index] = function(parts[index], inputs)
        return tuple(parts)

    return spoil


@layers
def test_nothing_spoilt_passes(name):
    """The wrapper alone changes nothing: what fails below fails for the reason given."""
    s = spoilt(name, lambda method, result, inputs: result)
    for check in (
        cases.round_trip, cases.log_dets_cancel, cases.log_det_is_of_the_jacobian,
        cases.inputs_get_gradients, cases.parameters_get_gradients, cases.vjps_are_linear,
        cases.gradients_of_there_and_back, cases.nothing_changes, cases.rows_stand_alone,
        cases.single_precision,
    ):  # fmt: skip
        check(s)


@layers
@pytest.mark.parametrize("method", ["_forward", "_inverse"])
def test_spoilt_values(name, method):
    s = spoilt(name, replaced(method, 0, lambda y, x: y + 1e-8))
    must_fail(cases.round_trip, s)


@layers
@pytest.mark.parametrize("method", ["_forward", "_inverse"])
def test_spoilt_log_dets(name, method):
    """By a constant, by the sign that the inverse's must have, by NaN, which equals nothing."""
    for spoil in (lambda log_det, x: log_det + 1e-8, lambda log_det, x: log_det * math.nan):
        s = spoilt(name, replaced(method, 1, spoil))
        must_fail(cases.log_dets_cancel, s)
        must_fail(cases.log_det_is_of_the_jacobian, s)
    if name not in ("Permutation", "Reverse") and "Shift" not in name:
        s = spoilt(name, replaced(method, 1, lambda log_det, x: -log_det))
        must_fail(cases.log_dets_cancel, s)
        must_fail(cases.log_det_is_of_the_jacobian, s)


@layers
@pytest.mark.parametrize("method", ["_forward_vjp", "_inverse_vjp"])
def test_spoilt_gradients_of_inputs(name, method):
    s = spoilt(name, replaced(method, 0, lambda gx, g: gx * (1 + 1e-6)))
    must_fail(cases.inputs_get_gradients, s)
    must_fail(cases.gradients_of_there_and_back, s, tolerance=1e-9)
    s = spoilt(name, replaced(method, 0, lambda gx, g: gx[:, ::-1].copy()))
    must_fail(cases.inputs_get_gradients, s)
    s = spoilt(name, replaced(method, 0, lambda gx, g: gx / max(1, np.abs(g).max())))
    must_fail(cases.vjps_are_linear, s)
    s = spoilt(name, replaced(method, 0, lambda gx, g: gx[::-1].copy()))
    must_fail(cases.inputs_get_gradients, s)


WITH_CONTEXT = {name: case for name, case in LAYERS.items() if case.context_dims[-1]}


@pytest.mark.parametrize("name", WITH_CONTEXT)
@pytest.mark.parametrize("method", ["_forward_vjp", "_inverse_vjp"])
def test_spoilt_gradients_of_contexts(name, method):
    s = spoilt(name, replaced(method, 1, lambda gc, g: gc * (1 + 1e-5)))
    must_fail(cases.inputs_get_gradients, s)
    s = spoilt(name, replaced(method, 1, lambda gc, g: 0 * gc))
    must_fail(cases.inputs_get_gradients, s)
    must_fail(cases.gradients_of_there_and_back, s)


TRAINED = {name: case for name, case in LAYERS.items() if case.flow(2).n_parameters}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("method", ["_forward_vjp", "_inverse_vjp"])
def test_spoilt_gradients_of_parameters(name, method):
    """Of any one array, a little: no array is beyond the sight of the test."""
    arrays = LAYERS[name].subject(2, LAYERS[name].context_dims[-1]).bijection.parameters.values()
    for index in [i for i, array in enumerate(arrays) if array.size]:

        def scale_one(grads, g, index=index):
            return [array * (1 + 1e-4 * (i == index)) for i, array in enumerate(grads)]

        s = spoilt(name, replaced(method, 2, scale_one))
        must_fail(cases.parameters_get_gradients, s)
    # Both directions wrong in the same way cancel there and back; one alone does not.
    s = spoilt(name, replaced(method, 2, lambda grads, g: [1.001 * array for array in grads]))
    must_fail(cases.gradients_of_there_and_back, s)


@pytest.mark.parametrize("name", TRAINED)
def test_wrong_signs_of_implicit_gradients(name):
    """-w for w, all else right."""
    s = spoilt(name, replaced("_inverse_vjp", 2, lambda grads, g: [-array for array in grads]))
    must_fail(cases.parameters_get_gradients, s)
    must_fail(cases.gradients_of_there_and_back, s)


@layers
def test_spoilt_memory(name):
    """Inputs that change, results that are someone else's, tapes that serve once."""

    def in_place(method, result, inputs):
        inputs += 1e-300 if method.endswith("vjp") else 1.0
        return result

    def aliased(method, result, inputs):
        return (inputs, *result[1:])

    def used_up():
        seen = set()

        def spoil(method, result, inputs):
            again = method.endswith("vjp") and (method, inputs.tobytes()) in seen
            seen.add((method, inputs.tobytes()))
            return (result[0] + 1e-9, *result[1:]) if again else result

        return spoil

    for spoil in (in_place, aliased, used_up()):
        must_fail(cases.nothing_changes, spoilt(name, spoil))


@layers
def test_spoilt_rows(name):
    """A row that depends on its neighbours, as with statistics of the batch."""
    s = spoilt(name, replaced("_forward", 0, lambda y, x: y + 1e-6 * (x.mean() - x)))
    must_fail(cases.rows_stand_alone, s)
    s = spoilt(name, replaced("_inverse", 1, lambda log_det, y: log_det + 1e-6 * len(y)))
    must_fail(cases.rows_stand_alone, s)


@layers
def test_spoilt_types(name):
    """float64 out of a float32 layer."""
    for index in (0, 1):
        s = spoilt(name, replaced("_forward", index, lambda part, x: part.astype(np.float64)))
        must_fail(cases.single_precision, s)
    s = spoilt(name, replaced("_inverse_vjp", 0, lambda gx, g: gx.astype(np.float64)))
    must_fail(cases.single_precision, s)


def test_spoilt_empty_batches():
    for index, function in ((0, lambda y, x: y[:, :1]), (1, lambda log_det, x: log_det[None])):
        must_fail(cases.no_rows, spoilt("LULinear", replaced("_forward", index, function)))


# --------------------------------------------------------------- mistakes that flows are known for


class Sketch(flows.Bijection):
    """A map written down as value(x) -> y, log_det; its Jacobian comes from differences.

    Forward alone: `log_det_is_of_the_jacobian` holds the two against each other.
    """

    def __init__(self, dim, value):
        super().__init__(dim)
        self.value = value

    def _forward(self, x, context):
        columns = [
            cases.Differences(lambda t, unit=unit: self.value(x + t * unit)[0]).slope
            for unit in np.eye(self.dim)
        ]
        return *self.value(x), np.stack(columns, axis=2)

    def _forward_vjp(self, jacobian, g, s):
        return np.einsum("ni,nij->nj", g, jacobian), None, []


def sketch(value, dim=5, n=12):
    points = np.random.default_rng(1).normal(size=(n, dim))
    return cases.Subject(Sketch(dim, value), points, points, one_way=True)


def planar(dim=5, power=2, constrained=True):
    """Rezende and Mohamed 2015, appendix A, with |w|^power."""
    u, w = np.random.default_rng(2).normal(size=(2, dim))
    t, b = u @ w, 0.4
    m = np.log1p((math.e - 1) * np.exp(t)) - 1
    v = u + (m - t) * w / (w @ w) ** (power / 2) if constrained else u

    def value(x):
        p = np.tanh(x @ w + b)
        return x + p[:, None] * v, np.log1p(m * (1 - p * p))

    return value


def radial(dim=5, flaw=None):
    """The same paper, eq. 14."""
    c, alpha, beta = np.random.default_rng(3).normal(size=dim), 0.7, 1.3

    def value(x):
        r = np.linalg.norm(x - c, axis=1)
        h = 1 / (alpha + r)
        y = x + (beta * h)[:, None] * (x - c)
        slope = {
            None: beta * h - beta * h * h * r,  # = alpha beta h^2
            "dropped alpha": beta * h * h,
            "sign": beta * h + beta * h * h * r,
        }[flaw]
        return y, (dim - 1) * np.log1p(beta * h) + np.log1p(slope)

    return value


def sylvester(dim=5, swapped=False, size=1.0):
    """R. van den Berg et al. 2018, eq. 13: y = x + Q R tanh(S Q^T x + b), R and S triangular.

    Swapped, each transposed as code on rows gets it wrong, the products of the diagonals are no
    longer the determinant's; the smaller R and S, the less it shows.
    """
    generator = np.random.default_rng(4)
    q = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    r, s = np.triu(generator.normal(size=(2, dim, dim))) * size
    for matrix in (r, s):
        matrix[np.diag_indices(dim)] = 0.9 * np.tanh(np.diagonal(matrix))
    outer = r if swapped else r.T

    def value(x):
        h = np.tanh(x @ q @ s.T + 0.3 * size)
        slopes = np.diagonal(r) * np.diagonal(s) * (1 - h * h)
        return x + h @ outer @ q.T, np.log1p(slopes).sum(axis=1)

    return value


SKETCHES = {"planar": planar(), "radial": radial(), "Sylvester": sylvester()}
FLAWED = {
    "planar: |w| for its square": planar(power=1),
    "planar: no constraint": planar(constrained=False),
    "radial: alpha dropped": radial(flaw="dropped alpha"),
    "radial: a sign": radial(flaw="sign"),
    "Sylvester: factors swapped": sylvester(swapped=True),
    "Sylvester: factors swapped, near the start": sylvester(swapped=True, size=0.1),
}


@pytest.mark.parametrize("value", SKETCHES.values(), ids=SKETCHES)
def test_sketches_without_flaws_pass(value):
    cases.log_det_is_of_the_jacobian(sketch(value), tolerance=1e-8)  # from differences alone


@pytest.mark.parametrize("value", FLAWED.values(), ids=FLAWED)
def test_flawed_formulas(value):
    must_fail(cases.log_det_is_of_the_jacobian, sketch(value), tolerance=1e-8)


def test_why_parameters_are_of_order_one():
    """Near its start the swapped Sylvester flow passes at 1e-4; at order one it is 0.1 off."""
    check = cases.log_det_is_of_the_jacobian
    check(sketch(sylvester(swapped=True, size=0.01)), 1e-4, 1e-4)
    must_fail(check, sketch(sylvester(swapped=True)), 0.1, 0.1)


def test_a_chain_that_drops_a_log_det():
    class Forgetful(flows.Chain):
        def _forward(self, x, context):
            y, log_det, tape = super()._forward(x, context)
            for layer in self.layers[:-1]:
                x = layer._forward(x, context)[0]
            return y, log_det - self.layers[-1]._forward(x, context)[1], tape

    s = LAYERS["Planar"].subject(3)
    s.bijection = cases.fill(Forgetful([flows.Planar(3, rng=0), flows.LULinear(3)]))
    s.y = s.bijection.forward(s.x)[0]
    cases.round_trip(s)
    must_fail(cases.log_dets_cancel, s)
    must_fail(cases.log_det_is_of_the_jacobian, s)


def test_a_chain_that_inverts_in_the_order_of_forward():
    class Hasty(flows.Chain):
        def _inverse(self, y, context):
            total = np.zeros(len(y))
            for layer in self.layers:
                y, log_det, _ = layer._inverse(y, context)
                total += log_det
            return y, total, None

    s = LAYERS["Planar"].subject(3)
    s.bijection = cases.fill(Hasty([flows.Planar(3, rng=0), flows.LULinear(3)]))
    must_fail(cases.round_trip, s)


class LeakyMADE(flows.MADE):
    """Outputs see hidden units of their own degree: x_i moves by what x_i is."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        before, after = self.degrees[-2:]
        self.masks[-1] = before[:, None] <= after


def test_masks_that_leak():
    s = LAYERS["Autoregressive-Affine"].subject(5)
    made = cases.fill(LeakyMADE(5, [8], 2, activation="tanh", rng=0))
    s.bijection = flows.Autoregressive(flows.Affine(), made)
    must_fail(cases.log_det_is_of_the_jacobian, s)
    must_fail(cases.round_trip, s)


class BackwardsPull(flows.Affine):
    """The implicit gradient with w for -w."""

    def inverse_vjp(self, tape, g, s):
        w = self.pull_back(tape, g, s)
        return w, self.raw_vjp(tape, w, -s * np.ones_like(w))


class UnsignedInverse(flows.Affine):
    """The log-slope of the inverse without its minus (as in an issue of pytorch-flows)."""

    def inverse(self, y, raw):
        x, log_slope, tape = super().inverse(y, raw)
        return x, -log_slope, tape


class SteepAffine(flows.Affine):
    """The log-scale's gradient without the bound's own slope."""

    def raw_vjp(self, tape, g, s):
        graw = super().raw_vjp(tape, g, s).copy()
        graw[:, 1] *= 1.001
        return graw


@pytest.mark.parametrize(
    ("map", "checks"),
    [
        (BackwardsPull, [cases.parameters_get_gradients, cases.gradients_of_there_and_back]),
        (UnsignedInverse, [cases.log_dets_cancel, cases.log_det_is_of_the_jacobian]),
        (SteepAffine, [cases.parameters_get_gradients]),
    ],
)
@pytest.mark.parametrize("structure", ["elementwise", "coupling"])
def test_flawed_maps(map, checks, structure):
    s = getattr(cases, structure)(map).subject(2)
    for check in checks:
        must_fail(check, s)


# ---------------------------------------------------------------------- splines, starts, densities


@pytest.mark.parametrize("ends", [0.999, 1.001, 1.295])
def test_wrong_slopes_at_the_ends_of_a_spline(ends):
    """As libraries have had them: 1 - 1e-3 of a padding, 1.295 of one that was not shifted."""
    numbers = np.random.default_rng(0).normal(size=(3, 5))

    def call(x, ends=ends):
        values = [
            cases.slow_spline(v, *numbers[:2], numbers[2, :4], 2.0, ends=ends) for v in x[:, 0]
        ]
        y, slope = np.array(values).T
        return y[:, None], np.log(slope)

    must_fail(cases.spline_joins_the_identity, call, 2.0)
    # And such a spline is not the identity at its start.
    zero = np.zeros(5)
    points = np.linspace(-1.99, 1.99, 50)
    y = np.array([cases.slow_spline(v, zero, zero, zero[:4], 2.0, ends=ends)[0] for v in points])
    assert np.abs(y - points).max() > 1e-5
    y = np.array([cases.slow_spline(v, zero, zero, zero[:4], 2.0)[0] for v in points])
    np.testing.assert_allclose(y, points, atol=1e-14)


class Hidden(Spoilt):
    """A layer that its repr does not name."""

    def __repr__(self):
        return "Hidden()"


def test_flows_that_do_not_start_as_the_identity():
    flow = flows.real_nvp(2, depth=2, width=4, rng=0)
    name = next(name for name in flow.parameters if name.endswith("bias_2"))
    flow.parameters[name][0] = 1e-9
    must_fail(cases.starts_as_identity, flow)
    hidden = flows.Flow(flows.Chain([Hidden(flows.Reverse(2)), flows.LULinear(2)]))
    must_fail(cases.starts_as_identity, hidden)
    # One that cannot leave it.
    frozen = flows.Flow(Spoilt(
        flows.LULinear(2), replaced("_inverse_vjp", 2, lambda grads, g: [0 * a for a in grads])
    ))  # fmt: skip
    must_fail(cases.starts_as_identity, frozen)


class HeavyNormal(flows.Normal):
    """A constant that is off by 1e-5."""

    def _log_prob(self, z):
        return super()._log_prob(z) + 1e-5


class WideNormal(flows.Normal):
    """Draws of another scale than the density's."""

    def _sample(self, n, generator):
        return 1.3 * super()._sample(n, generator)


class RestlessNormal(flows.Normal):
    """Draws that do not come from the generator."""

    def _sample(self, n, generator):
        return super()._sample(n, np.random.default_rng())


def test_flawed_densities():
    bijection = cases.CASES["planar"].flow(2).bijection
    must_fail(cases.integrates_to_one, flows.Flow(bijection, HeavyNormal(2)))
    must_fail(cases.draws_follow_the_density, flows.Flow(bijection, WideNormal(2)))
    must_fail(cases.cells_hold_their_share, flows.Flow(bijection, WideNormal(2)))
    must_fail(cases.draws_repeat, flows.Flow(bijection, RestlessNormal(2)))
    # Sampler and inverse agree on a map that the density does not have.
    wrong = Spoilt(bijection, replaced("_inverse", 1, lambda log_det, y: log_det - 0.1 * y[:, 0]))
    must_fail(cases.integrates_to_one, flows.Flow(wrong))
    must_fail(cases.cells_hold_their_share, flows.Flow(wrong))


class Forgotten(flows.Whitening):
    """Whitening that keeps its mean where files do not look."""

    def __init__(self, dim):
        super().__init__(dim)
        self.mean = self.own_state.pop("mean")
        self.mean += 1.0

    def _forward(self, x, context):
        return x + self.mean, np.zeros(len(x), x.dtype), None

    def _inverse(self, y, context):
        return y - self.mean, np.zeros(len(y), y.dtype), None


def test_state_that_a_file_forgets(tmp_path):
    flow = flows.Flow(Forgotten(2))
    points = np.ones((3, 2))
    s = cases.Subject(flow.bijection, points, points)
    cases.comes_back_from_a_file(flow, s, tmp_path / "flow")
    flow.bijection.mean += 0.5
    must_fail(cases.comes_back_from_a_file, flow, s, tmp_path / "flow")
