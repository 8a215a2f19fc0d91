"""Small data sets to start with: real handwritten digits, and patterns whose law is known.

Nothing is downloaded: the digits come with the package, bars and stripes are made by counting.
"""

from dataclasses import dataclass
from importlib import resources

import numpy as np

from . import validation

__all__ = ["Dataset", "bars_and_stripes", "digits"]

# Ink covers at least half of the 4 x 4 block of pixels that a grey level of 0..16 counts.
INK_THRESHOLD = 8

# 2^(n+1) patterns of n^2 bytes: 0.8 GB at n = 20, four times as much at each further step of two.
MAX_BARS = 20


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to learn from, with one label a row.

    Attributes
    ----------
    data : ndarray of int8, shape (n_samples, n_units)
    labels : ndarray of uint8, shape (n_samples,)
    """

    data: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        rows, units = self.data.shape
        states = ", ".join(str(value) for value in np.unique(self.data))
        return f"Dataset({rows} rows of {units} units, values {states})"


def digits(*, values: str = "binary") -> Dataset:
    """Load 1797 real handwritten digits, 8 x 8 pixels each.

    The test part of "Optical Recognition of Handwritten Digits", collected by E. Alpaydin and
    C. Kaynak from 13 writers and scanned with NIST's programs; UCI Machine Learning Repository,
    1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0. The same images as in scikit-learn's
    ``load_digits``. A pixel is on where its grey level is at least 8 of 16.

    Parameters
    ----------
    values : {"binary", "spin", "grey"}
        What the pixels are: 0 and 1, -1 and +1, or the original grey levels 0 to 16.

    Returns
    -------
    Dataset
        ``.data`` of shape (1797, 64), int8, and ``.labels`` of shape (1797,), uint8: new arrays at
        every call, in the original order.

    Raises
    ------
    ValueError
        If ``values`` is none of the three.

    Examples
    --------
    >>> from fastrbm.datasets import digits
    >>> data = digits()
    >>> data
    Dataset(1797 rows of 64 units, values 0, 1)
    >>> picture = data.data[0].reshape(8, 8)
    >>> print("\\n".join("".join("-#"[pixel] for pixel in row) for row in picture))
    ---##---
    --####--
    --#--##-
    --#--##-
    --#--##-
    --#--#--
    --#-##--
    ---##---
    """
    validation.choice("values", values, ("binary", "spin", "grey"))
    with (
        resources.files("fastrbm").joinpath("data/digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        images, labels = archive["images"], archive["labels"]
    if values == "grey":
        return Dataset(images.astype(np.int8), labels)
    return Dataset(_states(images >= INK_THRESHOLD, values), labels)


def bars_and_stripes(n: int, *, values: str = "binary") -> np.ndarray:
    """Make every n x n picture that consists of whole rows only or of whole columns only.

    The 2^n choices of rows and the 2^n choices of columns share the empty and the full picture:
    2^(n+1) - 2 distinct ones (MacKay, Information Theory, Inference, and Learning Algorithms,
    2003, section 43). O(2^n n^2) time and memory.

    Parameters
    ----------
    n : int
        Side of the picture, 1 to 20.
    values : {"binary", "spin"}
        0 and 1, or -1 and +1.

    Returns
    -------
    ndarray of int8, shape (2**(n + 1) - 2, n * n)
        Each picture once, row by row.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer from 1 to 20, or ``values`` neither of the two.

    Examples
    --------
    >>> from fastrbm.datasets import bars_and_stripes
    >>> bars_and_stripes(2)
    array([[0, 0, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 1],
           [1, 1, 1, 1],
           [1, 0, 1, 0],
           [0, 1, 0, 1]], dtype=int8)
    """
    n = validation.integer("n", n, 1)
    validation.choice("values", values, ("binary", "spin"))
    if n > MAX_BARS:
        raise ValueError(
            f"n must be at most {MAX_BARS}, got {n}: 2^{n + 1} patterns of {n * n} bytes"
        )
    choices = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    rows = np.repeat(choices, n, axis=1)
    columns = np.tile(choices[1:-1], (1, n))  # the empty and the full picture are among the rows
    return _states(np.concatenate([rows, columns]), values)


def _states(on: np.ndarray, values: str) -> np.ndarray:
    states = on.astype(np.int8)
    return states if values == "binary" else 2 * states - 1
