"""The record of what made a result."""

import functools

import numpy as np

from .. import _lib


@functools.cache
def _versions():
    return {"fastrbm": _lib.build_info()["version"], "numpy": np.__version__}


def provenance(executor, key, seconds, **more):
    """Return the `info` of a result: versions, SIMD level, kernel, threads, key, seconds, `more`.

    Examples
    --------
    >>> from fastrbm import _lib
    >>> from fastrbm.sampling.run import provenance
    >>> info = provenance(_lib.executor(1), key=7, seconds=0.5)
    >>> info["key"], info["n_threads"], info["seconds"]
    (7, 1, 0.5)
    """
    return {
        "key": key,
        "simd": executor.simd,
        "kernel": executor.kernel,
        "n_threads": executor.n_threads,
        "seconds": seconds,
        "versions": dict(_versions()),
        **more,
    }
