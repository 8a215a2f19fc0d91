"""Pictures with matplotlib, an optional extra: a flow layer by layer, its density, its training.

Figures are plain ``matplotlib.figure.Figure`` objects: pyplot is not imported, and no global state
is touched. This module imports without matplotlib; its functions then say how to install it.

style       colours, and what all axes have in common
planes      what is drawn, as numbers: windows, densities, grids
steps       `flow_steps` and `density`
training    `history`

Examples
--------
>>> from fastrbm import flows, plot
>>> f = flows.nsf(dim=2, depth=2, width=16, rng=0)
>>> moons = flows.toys.moons
>>> result = f.fit(moons.sample(2000, rng=0), n_epochs=2, rng=1)
>>> figure = plot.flow_steps(f, target=moons, resolution=50)
>>> figure.savefig("steps.png")
>>> plot.history(result).figure.savefig("training.png")
"""

from .steps import density, flow_steps
from .training import history

__all__ = ["density", "flow_steps", "history"]
