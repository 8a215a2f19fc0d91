"""One line of progress on standard error, for the command line and the demo."""

import sys


class ProgressLine:
    """A `train_cd` callback that says how far training is and how it does.

    On a terminal the line is written over after each epoch; elsewhere there is a line at most
    every tenth of the way, so that a log stays short.

    Parameters
    ----------
    name : str
        What is being trained.
    n_epochs : int
    stream : text file, optional
        Standard error by default.

    Examples
    --------
    >>> import sys, fastrbm
    >>> from fastrbm.terminal import ProgressLine
    >>> line = ProgressLine("stripes", 2, sys.stdout)
    >>> patterns = fastrbm.datasets.bars_and_stripes(2)
    >>> result = fastrbm.train_cd(patterns, n_epochs=2, metrics=(), callback=line)
    stripes: epoch 1 of 2
    stripes: epoch 2 of 2
    """

    def __init__(self, name, n_epochs, stream=None):
        self._name = name
        self._n_epochs = n_epochs
        self._stream = sys.stderr if stream is None else stream
        self._every = 1 if self._stream.isatty() else max(1, n_epochs // 10)

    def __call__(self, state):
        if state.epoch % self._every and state.epoch != self._n_epochs:
            return
        text = f"{self._name}: epoch {state.epoch} of {self._n_epochs}"
        for metric in ("reconstruction_error", "pseudo_likelihood"):
            if metric in state.history:
                text += f", {metric.replace('_', ' ')} {state.history[metric][-1]:.4g}"
        if self._stream.isatty():
            end = "\n" if state.epoch == self._n_epochs else ""
            text = f"\r\x1b[K{text}{end}"  # back to the start of the line, and clear it
        else:
            text += "\n"
        self._stream.write(text)
        self._stream.flush()
