"""How far a trained flow stays behind the density that its data come from.

Training on fresh draws: one epoch over rows that are each used once. The gap is the mean of
log p_true - log p_flow on 1e5 fresh points, an estimate of the divergence KL(p_true || flow).
"""

import time

import numpy as np

from fastrbm import flows

N_TEST = 100_000
BATCH = 512
#: Family, its options, learning rate and updates: under 3 minutes each on two cores.
RECIPES = {
    "nsf": (flows.nsf, {"depth": 6, "width": 64}, 5e-3, 4000),
    "real_nvp": (flows.real_nvp, {"depth": 12, "width": 64, "activation": "tanh"}, 5e-3, 4000),
    "maf": (flows.maf, {"depth": 12, "width": 64, "activation": "tanh"}, 5e-3, 4000),
}


def rows(options):
    for target in flows.toys.DENSITIES.values():
        for family, recipe in RECIPES.items():
            name = f"{target.name}, fresh draws, {family}"
            if options.only in name:
                yield {"row": name, **fresh(target, *recipe)}
    name = "eight_gaussians, 20,000 rows, nsf, defaults"
    if options.only in name:
        yield {"row": name, **fixed(flows.toys.DENSITIES["eight_gaussians"])}


def fresh(target, family, shape, rate, n_updates):
    x = target.sample(BATCH * n_updates, rng=1)
    flow = family(dim=2, rng=2, **shape)
    started = time.perf_counter()
    flow.fit(x, n_epochs=1, batch_size=BATCH, learning_rate=rate, rng=3)
    return gap(flow, target) | {"seconds": time.perf_counter() - started}


def fixed(target):
    x = target.sample(20_000, rng=1)
    flow = flows.nsf(dim=2, depth=6, width=48, rng=2)
    started = time.perf_counter()
    flow.fit(x, n_epochs=40, rng=3)
    return gap(flow, target) | {"seconds": time.perf_counter() - started}


def gap(flow, target):
    x = target.sample(N_TEST, rng=4)
    difference = target.log_prob(x) - flow.log_prob(x)
    error = difference.std() / np.sqrt(N_TEST)
    return {"gap": float(difference.mean()), "error": float(error)}
