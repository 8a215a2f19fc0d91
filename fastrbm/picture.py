"""The demo's picture: small grey images in mosaics, a row of panels for each model.

Needs matplotlib, which the package itself does not: callers handle the ImportError.
"""

import math

import numpy as np
from matplotlib.figure import Figure

#: Inches of one panel, and pixels an inch.
PANEL, DPI = 3.2, 150


def mosaic(images):
    """Lay images side by side in a square, one pixel apart.

    Parameters
    ----------
    images : ndarray (n_images, height, width)

    Returns
    -------
    ndarray (n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), float64
        NaN between images, and where there are none.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.picture import mosaic
    >>> mosaic(np.ones((4, 8, 8))).shape
    (17, 17)
    """
    n_images, height, width = images.shape
    n_columns = math.isqrt(n_images - 1) + 1
    n_rows = -(-n_images // n_columns)
    canvas = np.full((n_rows * (height + 1), n_columns * (width + 1)), np.nan)
    for index, image in enumerate(images):
        row, column = divmod(index, n_columns)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width] = image
    return canvas[:-1, :-1]


def write_picture(file, rows):
    """Draw one row of panels a model and write the picture as a PNG.

    Parameters
    ----------
    file : binary file
    rows : list of (str, list of (str, ndarray, str))
        For each row its name and its panels: title, array as `mosaic` gives it, colour map.
        A map named "diverging" is red for positive and blue for negative values, white at zero.

    Examples
    --------
    >>> import io, numpy as np
    >>> from fastrbm.picture import mosaic, write_picture
    >>> file = io.BytesIO()
    >>> write_picture(file, [("noise", [("pixels", mosaic(np.eye(8)[None]), "gray_r")])])
    >>> file.getvalue()[1:4]
    b'PNG'
    """
    n_columns = max(len(panels) for _, panels in rows)
    figure = Figure(figsize=(PANEL * n_columns, 1.06 * PANEL * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for (name, panels), row_axes in zip(rows, axes, strict=True):
        for (title, canvas, colours), axis in zip(panels, row_axes, strict=False):
            if colours == "diverging":
                limit = np.nanpercentile(np.abs(canvas), 99.5)
                axis.imshow(canvas, cmap="RdBu_r", vmin=-limit, vmax=limit)
            else:
                axis.imshow(canvas, cmap=colours)
            axis.set_title(title, fontsize=9)
        for axis in row_axes:
            axis.set(xticks=[], yticks=[], facecolor="0.88")
            axis.spines[:].set_visible(False)
        row_axes[0].set_ylabel(name, fontsize=11)
    figure.savefig(file, format="png", dpi=DPI)
