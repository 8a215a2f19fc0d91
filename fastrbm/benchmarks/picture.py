"""The picture of the complexity table: seconds against N, log-log, with the crossover marked.

Needs matplotlib, which the package itself does not: callers handle the ImportError.
"""

import math

from matplotlib.figure import Figure

from .report import EXACT_NAMES, PAIR_NAMES

#: Inches and pixels an inch: small enough to be kept in a repository.
SIZE, DPI = (10.0, 7.6), 100

COLOURS = {"naive": "0.45", "split": "C0", "pairwise": "C3"}
CD_COLOURS = ("C2", "C8", "C1")

#: Named on the axis.
SIZES = (4, 6, 8, 12, 16, 20, 24, 32, 64, 128, 256, 512, 1024)


def write_picture(file, result):
    """Draw log Z above and one update of training below, a column for each pair of layers.

    Filled points were fitted; hollow ones have too few multiply-adds. A star marks where exact
    training begins to cost more than CD-k.

    Parameters
    ----------
    file : binary file
    result : dict
        As `complexity.measure` returns it.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots(2, 2, sharex="row", sharey="row", squeeze=False)
    for column, (pair, name) in enumerate(PAIR_NAMES.items()):
        for row, experiment in enumerate(("log_z", "update")):
            _draw(axes[row, column], result, experiment, pair)
        _mark(axes[1, column], result, pair)
        axes[0, column].set_title(f"{name}, {result['settings']['n_hidden']} hidden units")
        axes[1, column].set_xlabel("visible units N")
    axes[0, 0].set_ylabel("seconds for exact log Z")
    axes[1, 0].set_ylabel(f"seconds an update, {result['settings']['batch_size']} rows")
    for axis in axes.flat:
        axis.grid(alpha=0.25, which="major")
        axis.legend(fontsize=8, loc="upper left" if axis in axes[0] else "upper right")
        low, high = axis.get_xlim()
        near = high / low < 10  # room for more than the powers of two
        sizes = [size for size in SIZES if low <= size <= high and (near or size.bit_count() == 1)]
        axis.set_xticks(sizes, map(str, sizes))
        axis.minorticks_off()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})


def _draw(axis, result, experiment, pair):
    axis.set(xscale="log", yscale="log")
    colours = iter(CD_COLOURS)
    for one in result["series"]:
        if (one["experiment"], one["pair"]) != (experiment, pair):
            continue
        method = one["method"]
        style = {"color": COLOURS.get(method) or next(colours), "markersize": 4, "marker": "o"}
        label = EXACT_NAMES.get(method, method.upper())
        axis.plot(*_points(one["points"]), markerfacecolor="white", label=label, **style)
        fitted = [point for point in one["points"] if point["size"] in one["fitted"]]
        axis.plot(*_points(fitted), linestyle="none", **style)


def _points(points):
    return [point["size"] for point in points], [point["seconds"] for point in points]


def _mark(axis, result, pair):
    """A star where the package's exact method begins to cost more than CD-k."""
    for one in result["crossovers"]:
        if one["pair"] == pair and one["exact"] != "naive" and one["size"] is not None:
            seconds = _seconds_at(one, result)
            axis.plot([one["size"]], [seconds], "*", color="black", markersize=11, zorder=5)
            axis.annotate(f"N = {one['size']:.1f}", (one["size"], seconds), xytext=(7, -11),
                          textcoords="offset points", fontsize=8)  # fmt: skip


def _seconds_at(crossover, result):
    """The cost of CD-k at the crossing: straight between the sizes around it, log-log."""
    (cd,) = [
        s
        for s in result["series"]
        if (s["experiment"], s["pair"], s["method"])
        == ("update", crossover["pair"], f"cd-{crossover['k']}")
    ]
    below = [p for p in cd["points"] if p["size"] <= crossover["size"]][-1]
    above = next(p for p in cd["points"] if p["size"] >= crossover["size"])
    if below["size"] == above["size"]:
        return below["seconds"]
    power = math.log(crossover["size"] / below["size"]) / math.log(above["size"] / below["size"])
    return below["seconds"] * (above["seconds"] / below["seconds"]) ** power
