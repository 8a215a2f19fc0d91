"""Training curves of a flow: the loss, and small below it how training was going."""

from .. import flows
from . import style

#: What the large axis shows of a history, and what the small ones below it show, by its labels.
LOSSES = {"nll": "nll", "validation_nll": "validation nll", "objective": "KL(q || p) − log Z"}
STRIPS = {"ess": "ess", "learning_rate": "rate"}
#: Height of the large axis over that of a small one.
LARGE = 4


def history(result, axis=None):
    """Draw how training went: the loss above, effective sample size and learning rate below it.

    Parameters
    ----------
    result : FlowResult
        Of `Flow.fit` (nll and, where there is one, validation nll by epoch), or of
        `Flow.fit_energy` (objective and effective sample size by step).
    axis : matplotlib.axes.Axes, optional
        Where to draw: one of a grid of subplots, whose place is divided. A new one by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axis of the loss; the small ones share its abscissa. A dot marks the best weights,
        which the flow has. What the first tenth of a run has above the rest is cut off.

    Raises
    ------
    TypeError, ValueError
        If result is not one of training a flow, or axis not one of a grid.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastrbm import flows, plot
    >>> f = flows.planar(dim=2, depth=4, rng=0)
    >>> result = f.fit_energy(flows.toys.u2, n_steps=300, batch_size=64, rng=1)
    >>> axis = plot.history(result)
    >>> [small.get_ylabel() for small in axis.figure.axes]
    ['nats', 'ess', 'rate']
    """
    style.matplotlib()
    if not isinstance(result, flows.FlowResult):
        raise TypeError(f"result must be a fastrbm.flows.FlowResult, got {result!r}")
    if axis is None:
        axis = style.new_figure(2.8 * style.PANEL, 2 * style.PANEL).subplots()
    if axis.get_subplotspec() is None:
        raise ValueError("axis must be one of a grid of subplots, got one at a place of its own")
    record = result.history
    unit = "epoch" if "epoch" in record else "step"
    losses = [name for name in LOSSES if name in record]
    strips = [name for name in STRIPS if name in record]
    axes = _divide(axis, len(strips))

    for name, colour in zip(losses, (style.INK, style.ACCENT), strict=False):
        axis.plot(record[unit], record[name], color=colour, label=LOSSES[name])
    if len(record[unit]):
        _mark(axis, result.info["best"] - 1)
    axis.set_ylabel("nats")
    axis.legend(frameon=False, fontsize=style.SMALL)
    for below, name in zip(axes[1:], strips, strict=True):
        below.plot(record[unit], record[name], color=style.QUIET, linewidth=1)
        below.set_ylabel(STRIPS[name])
        below.set_ylim(bottom=0, top=1.05 if name == "ess" else None)
    for each in axes:
        style.plain(each, each is axes[-1])
    axes[-1].set_xlabel(unit)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return axis


def _divide(axis, n_small):
    """Make place for small axes below one, and return all of them."""
    grid = axis.get_subplotspec().subgridspec(1 + n_small, 1, height_ratios=[LARGE] + [1] * n_small)
    axis.set_subplotspec(grid[0])
    return [axis, *(axis.figure.add_subplot(grid[1 + i], sharex=axis) for i in range(n_small))]


def _mark(axis, best):
    """Put a dot at the best weights, and cut off what the first tenth has above the rest."""
    curves = [line.get_ydata() for line in axis.lines]
    low = min(curve.min() for curve in curves)
    high = max(curve[len(curve) // 10 :].max() for curve in curves)
    margin = 0.06 * (high - low) or 0.5
    axis.set_ylim(low - margin, high + margin)
    line = axis.lines[-1]
    axis.plot(*line.get_xydata()[[best]].T, "o", color=line.get_color(), markersize=4)
