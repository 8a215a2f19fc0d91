"""How exact every family is with parameters of order one.

The Jacobian comes twice: by central differences with Richardson's extrapolation, and exactly, from
backward passes of unit cotangents. Parameters: matrices N(0, 1 / fan-in), vectors N(0, 1/4); half
of that for the integral, since a fixed grid cannot see the peaks of sharper densities. A round trip
is as exact as the map allows: its error is that of rounding, times what the way back stretches.
"""

import numpy as np

from fastrbm import flows

FAMILIES = {
    "planar": flows.planar,
    "radial": flows.radial,
    "nice": flows.nice,
    "real_nvp": flows.real_nvp,
    "real_nvp, checkerboard": lambda **k: flows.real_nvp(mask="checkerboard", **k),
    "real_nvp, actnorm": lambda **k: flows.real_nvp(normalization="actnorm", **k),
    "maf": flows.maf,
    "maf, batchnorm": lambda **k: flows.maf(normalization="batchnorm", **k),
    "iaf": flows.iaf,
    "nsf": flows.nsf,
    "nsf, linear": lambda **k: flows.nsf(linear=True, **k),
    "nsf, autoregressive": lambda **k: flows.nsf(autoregressive=True, **k),
}
SEEDS = 5
ERRORS = ("round_trip", "sum_of_log_dets", "log_det_numeric", "log_det_exact", "integral")
UNITS = np.eye(5)
#: Points of the quadrature in each direction, and lines of them evaluated at once. The density of a
#: spline has a kink at every knot, so that the rule converges with the square of the spacing only.
GRID, LINES = 2401, 16


def of_order_one(flow, rng, factor=1.0):
    """Give every parameter a number of order one, times a factor."""
    for array in flow.parameters.values():
        scale = 1 / np.sqrt(array.shape[0]) if array.ndim == 2 else 0.5
        array[...] = factor * scale * rng.normal(size=array.shape)


def rows(options):
    for name, family in FAMILIES.items():
        if options.only in name:
            worst, stretch = np.zeros(5), 0.0
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                flow = family(dim=5, depth=3, width=16, rng=seed)
                of_order_one(flow, rng)
                *trips, stretched = round_trips(flow, rng)
                if trips[0] > worst[0]:
                    stretch = stretched
                worst = np.maximum(worst, [*trips, *log_dets(flow, rng), 0])
                plane = family(dim=2, depth=3, width=16, rng=seed)
                of_order_one(plane, rng, 0.5)
                worst[4] = np.maximum(worst[4], abs(integral(plane) - 1))
            errors = dict(zip(ERRORS, worst.tolist(), strict=True))
            yield {"row": name, **errors, "stretch": stretch}


def round_trips(flow, rng):
    """The largest error of a round trip either way, of log-dets that must cancel, and the stretch.

    The way back stretches the first way's rounding errors: by so much where the error is largest.
    """
    x = rng.normal(size=(1000, 5))
    y, log_det = flow.forward(x)
    back, log_back = flow.inverse(y)
    z, _ = flow.inverse(x)
    again, _ = flow.forward(z)
    errors = {"forward": abs(back - x).max(axis=1), "inverse": abs(again - x).max(axis=1)}
    first = max(errors, key=lambda way: errors[way].max())
    point = errors[first].argmax()
    jacobian = jacobians(flow, first, x[point : point + 1])[0]
    stretch = float(1 / np.linalg.svd(jacobian, compute_uv=False).min())
    return errors[first].max(), abs(log_det + log_back).max(), stretch


def jacobians(flow, way, x):
    """The Jacobian at every row, exactly: backward passes of unit cotangents."""
    y, _, tape = getattr(flow.bijection, f"{way}_tape")(x)
    passes = [flow.bijection.backward(tape, np.broadcast_to(u, y.shape), 0.0)[0] for u in UNITS]
    return np.stack(passes, axis=1)


def log_dets(flow, rng):
    """The largest error of log-dets against both Jacobians."""
    x = rng.normal(size=(50, 5))
    _, log_det = flow.forward(x)

    def centred(h, unit):
        return (flow.forward(x + h * unit)[0] - flow.forward(x - h * unit)[0]) / (2 * h)

    numeric = [(4 * centred(5e-6, unit) - centred(1e-5, unit)) / 3 for unit in UNITS]
    both = np.stack(numeric, axis=2), jacobians(flow, "forward", x)
    return [abs(np.linalg.slogdet(jacobian)[1] - log_det).max() for jacobian in both]


def integral(flow):
    """The integral of the density over a rectangle that holds all of it, by the trapezoid rule."""
    draws = flow.sample(20_000, rng=0)
    low, high = draws.min(axis=0), draws.max(axis=0)
    margin = 0.5 * (high - low)
    axes = [np.linspace(a, b, GRID) for a, b in zip(low - margin, high + margin, strict=True)]
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    total = 0.0
    for first in np.array_split(axes[0], GRID // LINES):
        points = np.stack(np.meshgrid(first, axes[1], indexing="ij"), axis=-1)
        total += np.exp(flow.log_prob(points.reshape(-1, 2))).sum()
    return total * cell
