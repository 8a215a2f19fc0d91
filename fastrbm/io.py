"""Model files: one npz per RBM, readable by ``numpy.load`` alone, bits preserved.

The header names the unit types and sizes; the arrays are `weights` and `<side>_<parameter>`.
Format version 1.
"""

from . import files, validation
from .errors import FileFormatError
from .layers import LAYERS

FORMAT = "fastrbm-rbm"
VERSION = 1


def save(path, visible, hidden, weights):
    """Write two layers and their weights to `path`, replacing it atomically.

    Parameters
    ----------
    path : str or os.PathLike
        Taken as it is: no suffix is added.
    visible, hidden : Layer
    weights : ndarray (visible.n, hidden.n)

    Raises
    ------
    OSError
        If the place cannot be written to; a former file is then untouched.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastrbm
    >>> from fastrbm import io
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.npz")
    ...     io.save(path, fastrbm.Spin(2), fastrbm.Gaussian(1), np.ones((2, 1)))
    ...     visible, hidden, weights = io.load(path)
    >>> visible, hidden, weights.tolist()
    (Spin(2), Gaussian(1), [[1.0], [1.0]])
    """
    header = {"weights": list(weights.shape)}
    arrays = {"weights": weights}
    for side, layer in (("visible", visible), ("hidden", hidden)):
        header[side] = {"unit": layer.unit, "n": layer.n, "parameters": list(layer.parameters)}
        arrays |= {f"{side}_{name}": array for name, array in layer.parameters.items()}
    files.write_archive(path, FORMAT, VERSION, header, arrays)


def load(path):
    """Read what `save` wrote.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    visible, hidden : Layer
    weights : ndarray (visible.n, hidden.n)

    Raises
    ------
    OSError
        If the file cannot be opened.
    FileFormatError
        If it is foreign, truncated, damaged or too new.

    Examples
    --------
    >>> from fastrbm import io
    >>> io.load("no such file.npz")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such file.npz'
    """
    header, arrays = files.read_archive(path, FORMAT, VERSION)
    try:
        layers = [_layer(side, header[side], arrays) for side in ("visible", "hidden")]
        weights = arrays.pop("weights")
        if weights.shape != (layers[0].n, layers[1].n):
            raise ValueError(f"weights of shape {weights.shape} do not fit the layers")
        validation.model_dtype("dtype of weights", weights.dtype)
        validation.finite("weights", weights)
        if arrays:
            raise ValueError(f"unexpected arrays {sorted(arrays)}")
    except (KeyError, TypeError, ValueError) as error:
        shown = f"{str(path)!r} is not a whole {FORMAT} file"
        raise FileFormatError(f"{shown}: {error}") from error
    return *layers, weights


def _layer(side, header, arrays):
    """Build one layer, taking its parameters out of `arrays`."""
    kind = LAYERS[header["unit"]]
    return kind(header["n"], **{name: arrays.pop(f"{side}_{name}") for name in kind.defaults})
