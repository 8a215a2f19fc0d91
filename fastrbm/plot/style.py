"""How the pictures look: colours, sizes, axes. matplotlib is imported here alone, and on call."""

import numpy as np

#: Inches of one panel in a row of them, pixels an inch, points of letters.
PANEL, DPI = 1.5, 150
LARGE, SMALL = 10, 8

#: White for nothing, then green and blue to navy: the lightness L* falls evenly from 100 to 18.
DENSITY = (
    "#ffffff", "#d9eddb", "#aadbc4", "#71c9b8", "#08b6b6", "#069dac", "#0b849f", "#066c90",
    "#025682", "#013f75", "#1d275f",
)  # fmt: skip

#: Lines of a grid, from left to right and from below upwards.
UP, ACROSS = ("#08b6b6", "#025682", "#1d275f"), ("#f2b134", "#e2725b", "#8f2d56")

#: Of lines and points on white, of what stands beside them, and of what stands back.
INK, ACCENT, QUIET = "#025682", "#e2725b", "0.45"


def matplotlib():
    """Return the package matplotlib with the modules that are used here, without pyplot.

    Raises
    ------
    ImportError
        With the command that installs it.

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> style.matplotlib().figure.Figure.__name__
    'Figure'
    """
    try:
        import matplotlib.collections
        import matplotlib.colors
        import matplotlib.figure
    except ImportError as error:
        raise ImportError(
            "fastrbm.plot needs matplotlib: python -m pip install 'fastrbm[plot]'"
        ) from error
    return matplotlib


def new_figure(width, height):
    """Return an empty figure of that many inches, laid out around its contents.

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> style.new_figure(4.0, 3.0).get_size_inches()
    array([4., 3.])
    """
    return matplotlib().figure.Figure(figsize=(width, height), dpi=DPI, layout="compressed")


def density_colours():
    """Return the colour map of densities.

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> style.density_colours()([0.0]).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    return _colour_map("density", DENSITY)


def line_colours(n):
    """Return the colours of n lines upwards and of n lines across, an array (2 n, 4).

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> style.line_colours(3).shape
    (6, 4)
    """
    at = np.linspace(0, 1, n)
    return np.concatenate([_colour_map("up", UP)(at), _colour_map("across", ACROSS)(at)])


def _colour_map(name, colours):
    return matplotlib().colors.LinearSegmentedColormap.from_list(f"fastrbm_{name}", colours)


def bare(axis, window, ratio):
    """Show a window in a box of that height over width, with a faint frame and no ticks.

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> axis = style.new_figure(2.0, 2.0).subplots()
    >>> style.bare(axis, (-4.0, 4.0, -2.0, 2.0), 0.5)
    >>> axis.get_ylim() == (-2.0, 2.0), axis.get_box_aspect()
    (True, 0.5)
    """
    axis.set(xticks=[], yticks=[], xlim=window[:2], ylim=window[2:], facecolor="white")
    axis.set_box_aspect(ratio)
    axis.spines[:].set(color="0.8", linewidth=0.6)


def plain(axis, labels):
    """Leave an axis for curves its left and lower edge, and tick labels below if asked.

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> axis = style.new_figure(2.0, 2.0).subplots()
    >>> style.plain(axis, True)
    >>> axis.spines["top"].get_visible()
    False
    """
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=SMALL, labelbottom=labels)


def name(axis, title, kind):
    """Write a title above an axis, and smaller what kind of thing it is.

    Examples
    --------
    >>> from fastrbm.plot import style
    >>> axis = style.new_figure(2.0, 2.0).subplots()
    >>> style.name(axis, "layer 1 of 5", "Coupling")
    >>> axis.get_title()
    'layer 1 of 5'
    """
    axis.set_title(title, fontsize=LARGE, pad=14 if kind else 4)
    axis.annotate(
        kind, (0.5, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=SMALL, color=QUIET,
    )  # fmt: skip
