"""A gallery of flows in the plane: trains them, and draws how each carries its base to its target.

    python examples/flow_gallery.py [folder] [--quick]

Neural spline flows learn the four toy densities from 200,000 draws each. Planar flows, as in the
paper that introduced them, and RealNVP approach the four energies, of which they see value and
gradient only. A picture of the steps of each flow goes to the folder, and one of all training.

Needs matplotlib. Takes some minutes on two cores, with --quick some seconds, which are too few to
learn much.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
from matplotlib.figure import Figure

from fastrbm import flows, plot
from fastrbm.flows import toys


@dataclasses.dataclass
class Effort:
    """How much is done: of each kind so many targets, and so on."""

    n_targets: int = 4
    n_rows: int = 200_000
    n_epochs: int = 5
    n_steps: int = 3000
    n_draws: int = 50_000
    depth: int = 6
    depth_planar: int = 32
    depth_affine: int = 12
    n_panels: int = 6
    resolution: int = 160


QUICK = Effort(
    n_targets=1, n_rows=2000, n_epochs=2, n_steps=200, n_draws=1000, depth=2, depth_planar=4,
    depth_affine=2, n_panels=3, resolution=40,
)  # fmt: skip


def learn(flow, density, effort):
    """Fit a flow to draws of a density; return the result and KL(density || flow)."""
    x = density.sample(effort.n_rows, rng=1)
    result = flow.fit(x, n_epochs=effort.n_epochs, batch_size=512, learning_rate=2e-3, rng=2)
    fresh = density.sample(effort.n_draws, rng=3)
    return result, np.mean(density.log_prob(fresh) - flow.log_prob(fresh))


def approach(flow, energy, effort, **options):
    """Train a flow towards an energy; return the result and KL(flow || energy)."""
    result = flow.fit_energy(energy, n_steps=effort.n_steps, batch_size=512, rng=2, **options)
    x, log_q = flow.sample_and_log_prob(effort.n_draws, rng=3)
    return result, np.mean(log_q - energy(x)[0]) + energy.log_z


def run(effort):
    """Train flow after flow; yield its name, target, result, divergence, and what else to draw."""
    densities, energies = (
        list(targets.values())[: effort.n_targets] for targets in (toys.DENSITIES, toys.ENERGIES)
    )
    for target in densities:
        flow = flows.nsf(dim=2, depth=effort.depth, rng=0)
        data = {"data": target.sample(3000, rng=4)}
        yield f"nsf_{target.name}", target, *learn(flow, target, effort), data

    def anneal(step):
        return min(1.0, 0.01 + 2 * step / effort.n_steps)

    for target in energies:
        window = {"extent": min(target.extent, 7)}  # three of them end at 6, softly
        base = flows.Normal(2, scale=1.0 if target.name == "u1" else 3.0)
        planar = flows.planar(dim=2, depth=effort.depth_planar, rng=0)
        affine = flows.real_nvp(dim=2, depth=effort.depth_affine, activation="tanh", rng=0)
        for name, flow in (("planar", planar), ("real_nvp", affine)):
            flow = flows.Flow(flow.bijection, base)
            trained = approach(flow, target, effort, learning_rate=5e-3, anneal=anneal)
            yield f"{name}_{target.name}", target, *trained, window


def main():
    """Train and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default="flow_gallery")
    parser.add_argument("--quick", action="store_true", help="hardly train, to see that it runs")
    arguments = parser.parse_args()
    folder, effort = arguments.folder, QUICK if arguments.quick else Effort()
    folder.mkdir(parents=True, exist_ok=True)

    training = Figure(figsize=(13, 2.7 * 3), layout="constrained")
    axes = iter(training.subplots(3, 4).flat)
    for name, target, result, divergence, options in run(effort):
        seconds = result.info["seconds"]
        print(f"{name:<20} KL {divergence:6.3f} nats, trained in {seconds:3.0f} s", flush=True)
        options |= {"n_panels": effort.n_panels, "resolution": effort.resolution}
        plot.flow_steps(result.flow, target=target, **options).savefig(folder / f"{name}.png")
        plot.history(result, next(axes)).set_title(name)
    for unused in axes:
        unused.remove()
    training.savefig(folder / "training.png", dpi=100)


if __name__ == "__main__":
    main()
