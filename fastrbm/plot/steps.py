"""The slides' figure of a flow: density and grid carried layer by layer, and one density alone."""

from .. import flows, validation
from . import planes, style

#: Panels of the flow unless others are asked for, and the most points of data that are drawn.
PANELS, POINTS = 6, 3000


def flow_steps(
    flow, *, data=None, extent=None, n_panels=None, resolution=160, target=None, context=None,
    figure=None,
):  # fmt: skip
    """Draw how a flow in the plane carries its base distribution to the data, layer by layer.

    The upper row shows the density of f_k o ... o f_1 (z) for growing k, exactly, through the
    inverse of these layers. White is zero; in each panel the densest 2% of the mass have the
    darkest colour, and the whole flow is drawn on the scale of the target. The lower row shows
    where the same layers carry a regular grid of the latent space; each line keeps its colour.

    Parameters
    ----------
    flow : Flow
        With dim=2.
    data : array_like (n, 2), optional
        Points to show in a last column, the first 3,000 at most.
    extent : number or (left, right, bottom, top), optional
        The window of all panels; a number is half the side of a square around the origin. By
        default the square that holds nearly all draws of every panel shown, and the data; where
        a panel would be a dot in it, each panel has a window of its own.
    n_panels : int, optional
        Panels of the flow in a row, at least 2: evenly spaced ones if it has more layers, the base
        and the whole flow among them. By default at most 6.
    resolution : int
        Pixels of a panel across and up.
    target : object with log_prob, or callable, optional
        A density to show in a last column, as in `density`; where it has a context, the same.
    context : array_like (context_dim,), optional
        Required if and only if the flow has a context.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Its axes are those of the upper row, then of the lower one, from left to right.

    Raises
    ------
    ValueError, TypeError
        If the flow is not one in the plane, and for other bad arguments.
    ConvergenceError
        Where an inverse is numeric and did not converge.
    ImportError
        Without matplotlib.

    Notes
    -----
    A panel costs resolution^2 evaluations of the inverse of its layers.

    Examples
    --------
    >>> from fastrbm import flows, plot
    >>> f = flows.real_nvp(dim=2, depth=4, width=16, rng=0)
    >>> moons = flows.toys.moons
    >>> result = f.fit(moons.sample(1000, rng=0), n_epochs=1, rng=1)
    >>> figure = plot.flow_steps(f, target=moons, extent=moons.extent, resolution=50)
    >>> [axis.get_title() for axis in figure.axes[:3]]
    ['base', 'layer 1 of 5', 'layer 2 of 5']
    """
    style.matplotlib()
    if not isinstance(flow, flows.Flow):
        raise TypeError(f"flow must be a fastrbm.flows.Flow, got {flow!r}")
    _check_plane("flow", flow)
    flow.one_context(context, 1)
    n_panels = PANELS if n_panels is None else validation.integer("n_panels", n_panels, 2)
    resolution = validation.integer("resolution", resolution, 2)
    if target is not None:
        _check_plane("target", target)
    if data is not None:
        data = validation.finite("data", validation.table("data", data, 2))[:POINTS]
    steps = planes.steps(flow, n_panels, context)
    if extent is None:
        windows, ratio = planes.windows(steps, data), 1.0
    else:
        windows = [planes.window(extent)] * len(steps)
        ratio = planes.ratio(windows[0])

    n_columns = len(steps) + (target is not None or data is not None)
    if figure is None:
        figure = style.new_figure(style.PANEL * n_columns + 0.3, 2 * style.PANEL * ratio + 0.55)
    axes = figure.subplots(2, n_columns)
    lines = planes.grid(*planes.box(planes.latent(steps[0])))
    for step, window, (above, below) in zip(steps, windows, axes.T, strict=False):
        _draw_density(above, step, window, resolution)
        _draw_lines(below, step.carry(lines))
        for axis in (above, below):
            style.bare(axis, window, ratio)
        style.name(above, f"layer {step.k} of {steps[-1].k}" if step.k else "base", step.kind)
    axes[0, 0].set_ylabel("density", fontsize=style.LARGE)
    axes[1, 0].set_ylabel("latent grid", fontsize=style.LARGE)
    if n_columns > len(steps):
        above, below = axes[:, -1]
        if target is not None:
            of_context = context if getattr(target, "context_dim", 0) else None
            _draw_density(above, target, windows[-1], resolution, of_context)
            axes[0, -2].images[0].set_clim(above.images[0].get_clim())
            style.name(above, "target", getattr(target, "name", ""))
        if data is not None:
            _draw_points(below, data)
        for axis, given in ((above, target), (below, data)):
            style.bare(axis, windows[-1], ratio)
            axis.set_visible(given is not None)
    return figure


def density(target, extent, axis=None, *, context=None, resolution=160):
    """Draw a density in the plane: white is zero.

    Parameters
    ----------
    target : object with log_prob, or callable
        A flow, a base, a density of `flows.toys`; or an unnormalised one as `Flow.fit_energy`
        takes it, which is divided by the exponential of its attribute log_z, or else by its
        integral over the window.
    extent : number or (left, right, bottom, top)
        The window; a number is half the side of a square around the origin.
    axis : matplotlib.axes.Axes, optional
        Where to draw; the axis of a new figure by default.
    context : array_like (context_dim,), optional
        Required if and only if target is a flow with a context.
    resolution : int
        Pixels across and up.

    Returns
    -------
    matplotlib.axes.Axes
        Its first image holds the density at the centres of the pixels.

    Raises
    ------
    ValueError, TypeError
        If the density is not one in the plane, and for other bad arguments.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastrbm import flows, plot
    >>> axis = plot.density(flows.toys.u2, extent=(-6, 6, -3, 3))
    >>> pixel = 12 / 160 * 6 / 160
    >>> round(float(axis.images[0].get_array().sum()) * pixel, 1)
    0.9
    """
    style.matplotlib()
    _check_plane("target", target)
    window = planes.window(extent)
    resolution = validation.integer("resolution", resolution, 2)
    if axis is None:
        axis = style.new_figure(2 * style.PANEL, 2 * style.PANEL).subplots()
    _draw_density(axis, target, window, resolution, context)
    style.bare(axis, window, planes.ratio(window))
    return axis


def _check_plane(name, target):
    if not (hasattr(target, "log_prob") or callable(target)):
        raise TypeError(f"{name} must have log_prob or be callable, got {target!r}")
    if getattr(target, "dim", 2) != 2:
        raise ValueError(f"{name} must have dim=2 to be drawn in the plane, got dim={target.dim}")


def _draw_density(axis, target, window, resolution, context=None):
    image = planes.image(target, window, resolution, context)
    axis.imshow(
        image, extent=window, origin="lower", aspect="auto", interpolation="bilinear",
        cmap=style.density_colours(), vmin=0, vmax=planes.darkest(image),
    )  # fmt: skip


def _draw_points(axis, points):
    axis.plot(*points.T, ".", color=style.INK, markersize=1.5, alpha=0.5, markeredgewidth=0)
    axis.set_xlabel("data", fontsize=style.LARGE)


def _draw_lines(axis, lines):
    collections = style.matplotlib().collections
    colours = style.line_colours(len(lines) // 2)
    axis.add_collection(collections.LineCollection(lines, colors=colours, linewidths=0.6))
