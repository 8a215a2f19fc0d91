"""Progress bars of long runs: tqdm's, or a stand-in that shows nothing."""


class Silent:
    """A progress bar that shows nothing.

    Examples
    --------
    >>> from fastrbm.progress import Silent
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
    >>> from fastrbm.progress import progress_bar
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
