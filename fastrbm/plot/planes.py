"""What is drawn, as numbers, without matplotlib: steps of a flow, windows, densities, grids.

A window is (left, right, bottom, top). An image is an array (resolution, resolution) whose first
row is the lowest, with the values at the centres of its pixels.
"""

import numpy as np
from scipy.special import logsumexp

from .. import flows, validation

#: Windows are made for so many draws. Of these, the first part is left out on each of the four
#: sides, and the second part of what remains is added there.
DRAWS, TAIL, MARGIN = 4000, 0.002, 0.1
#: At most so many times as wide as what a panel shows is the window that all panels share.
ZOOM = 8
#: This part of the mass, the densest, has the darkest colour.
DENSEST = 0.02


class Step:
    """The first k layers of a flow: x = f_k o ... o f_1 (z), z ~ base.

    Parameters
    ----------
    flow : Flow
    k : int
        From 0, the base distribution, to the number of layers.
    context : array_like (context_dim,), optional

    Examples
    --------
    >>> from fastrbm import flows
    >>> from fastrbm.plot.planes import Step
    >>> f = flows.Flow(flows.Chain([flows.LULinear(2), flows.Elementwise(2, flows.Exp())]))
    >>> Step(f, 1).carry([[0.0, 0.0]]), Step(f, 2).carry([[0.0, 0.0]])
    (array([[0., 0.]]), array([[1., 1.]]))
    >>> Step(f, 2).kind
    'Elementwise'
    """

    def __init__(self, flow, k, context=None):
        self.k, self.base = k, flow.base
        self.flow = flows.Flow(flows.Chain(layers(flow)[:k]), flow.base) if k else None
        self.context = context if k and self.flow.context_dim else None

    @property
    def kind(self):
        """The class of the last layer, or of the base."""
        if self.flow is None:
            return type(self.base).__name__
        layer = self.flow.bijection.layers[-1]
        return type(layer.bijection if isinstance(layer, flows.Invert) else layer).__name__

    def carry(self, z):
        """Return where the layers send latent points (..., 2)."""
        z = np.asarray(z)
        if self.flow is None:
            return z
        return self.flow.forward(z.reshape(-1, 2), context=self.context)[0].reshape(z.shape)

    def log_prob(self, x):
        """Return the exact log-density at points (n, 2): through the inverse of the layers."""
        if self.flow is None:
            return self.base.log_prob(x)
        return self.flow.log_prob(x, context=self.context)


def layers(flow):
    """Return the layers of a flow, the first applied first.

    Examples
    --------
    >>> from fastrbm import flows
    >>> from fastrbm.plot.planes import layers
    >>> layers(flows.planar(dim=2, depth=1, rng=0))
    [Planar(2), Whitening(2)]
    """
    bijection = flow.bijection
    return bijection.layers if isinstance(bijection, flows.Chain) else [bijection]


def steps(flow, n_steps, context=None):
    """Return at most `n_steps` evenly spaced steps of a flow, the base and the whole among them.

    Examples
    --------
    >>> from fastrbm import flows
    >>> from fastrbm.plot.planes import steps
    >>> [step.k for step in steps(flows.planar(dim=2, depth=32, rng=0), 5)]
    [0, 8, 16, 25, 33]
    """
    last = len(layers(flow))
    counts = np.linspace(0, last, min(n_steps, last + 1)).round().astype(int)
    return [Step(flow, k, context) for k in counts.tolist()]


def window(extent):
    """Return `extent` as a window: four numbers, or one that is half the side of a square.

    Examples
    --------
    >>> from fastrbm.plot.planes import window
    >>> window(4)
    (-4.0, 4.0, -4.0, 4.0)
    """
    array = validation.finite("extent", validation.real_array("extent", extent))
    if array.shape == ():
        array = array * np.array([-1.0, 1.0, -1.0, 1.0])
    if array.shape != (4,) or not (array[0] < array[1] and array[2] < array[3]):
        raise ValueError(
            f"extent must be a number > 0 or (left, right, bottom, top), got {extent!r}"
        )
    return tuple(map(float, array))


def ratio(window):
    """Return the height of a window over its width.

    Examples
    --------
    >>> from fastrbm.plot.planes import ratio
    >>> ratio((-4.0, 4.0, -2.0, 2.0))
    0.5
    """
    left, right, bottom, top = window
    return (top - bottom) / (right - left)


def windows(steps, data=None):
    """Return a window for each step that holds nearly all of its draws.

    Parameters
    ----------
    steps : list of Step
    data : ndarray (n, 2), optional
        What the last window holds too.

    Returns
    -------
    list of tuple
        One square for all; where a step would be a dot in it, each has its own window.

    Examples
    --------
    >>> from fastrbm import flows
    >>> from fastrbm.plot.planes import steps, windows
    >>> first, last = windows(steps(flows.Flow(flows.LULinear(2)), 2))
    >>> first == last, round(first[1])
    (True, 3)
    """
    z = latent(steps[0])
    boxes = [box(step.carry(z)) for step in steps]
    if data is not None:
        boxes[-1] = _around([boxes[-1], box(data)])
    low, high = _around(boxes)
    middle, half = (low + high) / 2, (high - low).max() / 2
    if all((2 * half <= ZOOM * (b - a)).all() for a, b in boxes):
        boxes = [(middle - half, middle + half)] * len(boxes)
    boxes = [(a - MARGIN * (b - a), b + MARGIN * (b - a)) for a, b in boxes]
    return [(float(a[0]), float(b[0]), float(a[1]), float(b[1])) for a, b in boxes]


def latent(step):
    """Return the draws of the base that windows and grids are made for, always the same ones."""
    return step.base.sample(DRAWS, rng=np.random.default_rng(0))


def box(points):
    """Return the lower left and upper right corner around nearly all of some points (n, 2).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.plot.planes import box
    >>> low, high = box(np.random.default_rng(0).random((9999, 2)))
    >>> low.round(1), high.round(1)
    (array([0., 0.]), array([1., 1.]))
    """
    validation.finite("draws", points)
    return tuple(np.quantile(points, [TAIL, 1 - TAIL], axis=0))


def _around(boxes):
    return np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)


def image(target, window, resolution, context=None):
    """Return a density at the pixels of a window.

    Parameters
    ----------
    target : object with log_prob, or callable
        A callable as `Flow.fit_energy` takes it gives log-densities and gradients. It is
        normalised by its attribute log_z, or else so that the image integrates to one.
    window : tuple
    resolution : int
    context : array_like (context_dim,), optional
        Handed on to log_prob, where it is not None.

    Returns
    -------
    ndarray (resolution, resolution) of float64

    Examples
    --------
    >>> from fastrbm import flows
    >>> from fastrbm.plot.planes import image
    >>> float(image(flows.Normal(2), (-5.0, 5.0, -5.0, 5.0), 50).sum().round(4))  # pixels of 1/25
    25.0
    """
    left, right, bottom, top = window
    middles = (np.arange(resolution) + 0.5) / resolution
    across, up = left + (right - left) * middles, bottom + (top - bottom) * middles
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    if context is not None and not hasattr(target, "context_dim"):
        raise ValueError(f"context must be left out where target is no flow, got {context!r}")
    if hasattr(target, "log_prob"):
        log = target.log_prob(points, **({} if context is None else {"context": context}))
        log_z = 0.0
    else:
        log = np.asarray(target(points)[0])
        if log.shape != points.shape[:1]:
            raise ValueError("target must return log-densities (n,) and gradients of points (n, 2)")
        log_pixel = np.log((right - left) * (top - bottom) / len(points))
        log_z = getattr(target, "log_z", logsumexp(log) + log_pixel)
    return np.exp(np.asarray(log, np.float64) - log_z).reshape(resolution, resolution)


def darkest(image):
    """Return the density that gets the darkest colour: the densest 2% of the mass lie above it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.plot.planes import darkest
    >>> darkest(np.array([[0.0, 1.0], [1.0, 0.01]]))
    1.0
    """
    values = np.sort(image, axis=None)
    mass = np.cumsum(values)
    return float(values[np.searchsorted(mass, (1 - DENSEST) * mass[-1])]) or 1.0


def grid(low, high, n_lines=15, n_points=400):
    """Return the lines of a regular grid on a box.

    Parameters
    ----------
    low, high : ndarray (2,)
        Corners of the box.
    n_lines : int
        In each direction.
    n_points : int
        On each line.

    Returns
    -------
    ndarray (2 * n_lines, n_points, 2)
        First the lines upwards, from left to right, then those across.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.plot.planes import grid
    >>> lines = grid(np.zeros(2), np.ones(2), n_lines=2, n_points=3)
    >>> lines[1]
    array([[1. , 0. ],
           [1. , 0.5],
           [1. , 1. ]])
    """
    along, at = np.linspace(0, 1, n_points), np.linspace(0, 1, n_lines)
    up = np.stack(np.broadcast_arrays(at[:, None], along), axis=-1)
    return low + (high - low) * np.concatenate([up, up[:, :, ::-1]])
