"""Reverse KL to the energies of Rezende and Mohamed, exact since log Z is known.

KL(q || p) = E_q[log q - log p~] + log Z, from 1e5 draws that training never saw. U2 to U4 fill a
band of length 12, so that the base is three times as wide there.
"""

import time

import numpy as np

from fastrbm import flows

N_TEST = 100_000
WIDE = 3.0
RECIPES = {
    "planar, K = 32": (flows.planar, {"depth": 32}, 5e-3, 6000),
    "real_nvp": (flows.real_nvp, {"depth": 12, "width": 64, "activation": "tanh"}, 5e-3, 6000),
}
BATCH = 512


def rows(options):
    for target in flows.toys.ENERGIES.values():
        for family, recipe in RECIPES.items():
            name = f"{target.name}, {family}"
            if options.only in name:
                yield {"row": name, **divergence(target, *recipe)}


def divergence(target, family, shape, rate, n_steps):
    flow = family(dim=2, rng=1, **shape)
    if target.name != "u1":
        flow = flows.Flow(flow.bijection, flows.Normal(2, 0.0, WIDE))
    started = time.perf_counter()
    flow.fit_energy(
        target, n_steps=n_steps, batch_size=BATCH, learning_rate=rate, rng=2,
        anneal=lambda step: min(1.0, 0.01 + 2 * step / n_steps),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    x, log_q = flow.sample_and_log_prob(N_TEST, rng=3)
    weights = log_q - target(x)[0] + target.log_z
    error = weights.std() / np.sqrt(N_TEST)
    return {"kl": float(weights.mean()), "error": float(error), "seconds": seconds}
