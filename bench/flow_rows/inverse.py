"""MAF sampling, each hidden unit once, over the usual inverse: a whole pass for each entry."""

import statistics
import time

import numpy as np

from fastrbm import flows

DIM, WIDTH, BATCH = 64, 512, 1000


def rows(options):
    name = f"maf sampling, D = {DIM}, hidden 2 x {WIDTH}, batch {BATCH}"
    if options.only not in name:
        return
    made = flows.MADE(DIM, [WIDTH, WIDTH], 2, rng=0)
    layer = flows.Autoregressive(flows.Affine(), made)
    rng = np.random.default_rng(1)
    layer.unravel(0.05 * rng.normal(size=layer.n_parameters))
    z = rng.normal(size=(BATCH, DIM))
    x, _ = layer.inverse(z)
    difference = abs(x - by_passes(layer, z)).max()
    if not difference < 1e-9:
        raise SystemExit(f"the two inverses differ by {difference}")
    ratios, ours = [], []
    for _ in range(options.rounds):
        ours.append(timed(lambda: layer.inverse(z)))
        ratios.append(timed(lambda: by_passes(layer, z)) / ours[-1])
    yield {
        "row": name,
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "milliseconds": 1e3 * statistics.median(ours),
        "forward_milliseconds": 1e3 * timed(lambda: layer.forward(x)),
    }


def by_passes(layer, z):
    """The inverse as libraries have it: pass i makes entry i right."""
    x = np.zeros_like(z)
    for i in range(layer.dim):
        raw, _ = layer.made._forward(x, len(x))
        raw = raw.reshape(len(x), layer.map.n_raw, layer.dim)
        x[:, i] = layer.map.solve(z[:, i : i + 1], raw[:, :, i : i + 1])[:, 0]
    return x


def timed(call):
    call()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
