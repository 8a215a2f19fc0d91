"""What every long run has besides its numbers: a record of what made it, and a progress bar."""

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


class Silent:
    """A progress bar that shows nothing.

    Examples
    --------
    >>> from fastrbm.sampling.run import Silent
    >>> with Silent() as bar:
    ...     bar.update()
    """

    def update(self, n=1):
        """Do nothing."""

    def set_postfix(self, values):
        """Do nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


_SILENT = Silent()


def progress_bar(wanted, total, unit):
    """Return a tqdm bar, or a silent stand-in.

    Parameters
    ----------
    wanted : bool
    total : int
        Steps of the whole run.
    unit : str
        What a step is called.

    Raises
    ------
    ImportError
        If a bar is wanted and tqdm is not installed.

    Examples
    --------
    >>> from fastrbm.sampling.run import progress_bar
    >>> with progress_bar(False, 10, "draw") as bar:
    ...     bar.update()
    """
    if not wanted:
        return _SILENT
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError(
            "progress=True needs tqdm: python -m pip install 'fastrbm[progress]'"
        ) from None
    return tqdm(total=total, unit=unit)
