"""How exact every family is with parameters of order one.

The Jacobian comes twice: by central differences with Richardson's extrapolation, and exactly, from
backward passes of unit cotangents. Parameters: matrices N(0, 1 / fan-in), vectors N(0, 1/4); half
of that for the integral, since a fixed grid cannot see the peaks of sharper densities.
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
#: Points of the quadrature in each direction.
GRID = 1201


def of_order_one(flow, rng, factor=1.0):
    """Give every parameter a number of order one, times a factor."""
    for array in flow.parameters.values():
        scale = 1 / np.sqrt(array.shape[0]) if array.ndim == 2 else 0.5
        array[...] = factor * scale * rng.normal(size=array.shape)


def rows(options):
    for name, family in FAMILIES.items():
        if options.only in name:
            worst = np.zeros(5)
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                flow = family(dim=5, depth=3, width=16, rng=seed)
                of_order_one(flow, rng)
                worst = np.maximum(worst, [*round_trips(flow, rng), *log_dets(flow, rng), 0])
                plane = family(dim=2, depth=3, width=16, rng=seed)
                of_order_one(plane, rng, 0.5)
                worst[4] = np.maximum(worst[4], abs(integral(plane) - 1))
            yield {"row": name, **dict(zip(ERRORS, worst.tolist(), strict=True))}


def round_trips(flow, rng):
    """The largest error of a round trip either way, and of log-dets that must cancel."""
    x = rng.normal(size=(1000, 5))
    y, log_det = flow.forward(x)
    back, log_back = flow.inverse(y)
    z, _ = flow.inverse(x)
    again, _ = flow.forward(z)
    return max(abs(back - x).max(), abs(again - x).max()), abs(log_det + log_back).max()


def log_dets(flow, rng):
    """The largest error of log-dets against both Jacobians."""
    x = rng.normal(size=(50, 5))
    _, log_det, tape = flow.bijection.forward_tape(x)
    exact = np.empty((50, 5, 5))
    numeric = np.empty((50, 5, 5))
    for i, unit in enumerate(np.eye(5)):
        exact[:, i], _, _ = flow.bijection.backward(tape, np.broadcast_to(unit, (50, 5)), 0.0)

        def centred(h, unit=unit):
            return (flow.forward(x + h * unit)[0] - flow.forward(x - h * unit)[0]) / (2 * h)

        numeric[:, :, i] = (4 * centred(5e-6) - centred(1e-5)) / 3
    return [abs(np.linalg.slogdet(j)[1] - log_det).max() for j in (numeric, exact)]


def integral(flow):
    """The integral of the density over a rectangle that holds all of it, by the trapezoid rule."""
    draws = flow.sample(20_000, rng=0)
    low, high = draws.min(axis=0), draws.max(axis=0)
    margin = 0.5 * (high - low)
    axes = [np.linspace(a, b, GRID) for a, b in zip(low - margin, high + margin, strict=True)]
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    total = 0.0
    for first in axes[0]:
        line = np.stack([np.full(GRID, first), axes[1]], axis=1)
        total += np.exp(flow.log_prob(line)).sum()
    return total * cell
