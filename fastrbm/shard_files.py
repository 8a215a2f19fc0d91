"""Files of partial results, so that several machines can share one log Z.

Each file holds records of shards of one model at one beta, and says of which: what does not belong
together is refused, and a part that was interrupted goes on where it stopped.
"""

import hashlib
import os

import numpy as np

from . import files
from .errors import FileFormatError

FORMAT, VERSION = "fastrbm shards", 1


def identity(rbm, shards, dtype, beta):
    """Return what the partial results of one sum have in common.

    Parameters
    ----------
    rbm : RBM
    shards : Shards
    dtype : str
    beta : float

    Returns
    -------
    dict

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.evaluation import Shards
    >>> from fastrbm.shard_files import identity
    >>> rbm = fastrbm.RBM(fastrbm.Spin(4), fastrbm.Gaussian(2), rng=1)
    >>> identity(rbm, Shards(rbm), "float64", 1.0)["method"]
    'pairwise'
    """
    return {
        "model": hashlib.sha256(rbm.to_bytes()).hexdigest(),
        "method": shards.method,
        "n_shards": shards.n_shards,
        "dtype": dtype,
        "beta": beta,
    }


def part(words, n_shards):
    """Return the numbers of the shards in part k of n, as "k/n" says, k from 1.

    Parameters
    ----------
    words : str
    n_shards : int

    Returns
    -------
    ndarray of int

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> from fastrbm.shard_files import part
    >>> part("2/3", 8)
    array([2, 3, 4])
    >>> part("4/3", 8)
    Traceback (most recent call last):
    ValueError: shards must be K/N with K from 1 to N, such as 2/8, got '4/3'
    """
    k, _, n = words.partition("/")
    if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise ValueError(f"shards must be K/N with K from 1 to N, such as 2/8, got {words!r}")
    return np.arange((int(k) - 1) * n_shards // int(n), int(k) * n_shards // int(n))


def save(path, of, partials):
    """Write partial results and what they are of.

    Parameters
    ----------
    path : str or os.PathLike
    of : dict
        See `identity`.
    partials : ndarray of partial results
    """
    files.write_archive(path, FORMAT, VERSION, {"of": of}, {"partials": partials})


def load(path, of, dtype):
    """Read partial results of this sum.

    Parameters
    ----------
    path : str or os.PathLike
    of : dict
        See `identity`.
    dtype : numpy.dtype
        Of a partial result.

    Returns
    -------
    ndarray of partial results

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is something else, or of another sum.
    """
    header, arrays = files.read_archive(path, FORMAT, VERSION)
    partials = arrays.get("partials")
    if partials is None or partials.dtype != dtype or not isinstance(header.get("of"), dict):
        raise FileFormatError(f"{os.fspath(path)!r} holds no partial results")
    found = header["of"]
    others = [f"{name} {found.get(name)!r}" for name in of if found.get(name) != of[name]]
    if others:
        raise ValueError(f"{os.fspath(path)!r} is of another sum: {', '.join(others)}")
    return partials
