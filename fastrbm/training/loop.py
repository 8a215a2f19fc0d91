"""The ONE training loop: epochs, metrics, history, callback, divergence, Ctrl-C.

What differs between training methods is the negative phase. It is an object with

    check(settings)                          refuse what does not fit, before any work
    default_rate(rbm, data, packed, batch_size, executor)
                                             -> the learning rate where none is given
    start(start, data, packed, settings, key, executor)
                                             -> a trainer (`fastrbm._lib.core.Trainer` for CD)
    session()                                -> a context that surrounds the epochs
    final_chains(trainer, rbm)               -> what goes into ``result.chains``
    info(trainer)                            -> what it adds to ``result.info``

and a trainer has epoch(executor, epoch, learning_rate, key) -> "done", "converged" (no further
epoch would change anything), "stopped" or "diverged", and the attributes update_norm, n_updates,
kernel. An epoch is one call into C.
"""

import logging
import math
import time

import numpy as np

from .. import _lib, random, validation
from .._lib import core
from ..errors import DivergenceError, Interrupted
from ..progress import progress_bar
from ..sampling.run import provenance
from .metrics import Metrics
from .rate import learning_rate
from .result import TrainingResult, TrainingState
from .start import prepare

_log = logging.getLogger("fastrbm")


def train(data, settings, phase):
    """Train a model on data with the negative phase `phase`.

    Parameters
    ----------
    data : array_like (n_samples, n_visible)
    settings : Settings
    phase : object
        The negative phase; see above.

    Returns
    -------
    TrainingResult

    Examples
    --------
    >>> import fastrbm
    >>> from fastrbm.training.cd import ContrastiveDivergence
    >>> from fastrbm.training.loop import train
    >>> from fastrbm.training.settings import Settings
    >>> data = fastrbm.datasets.bars_and_stripes(2)
    >>> result = train(data, Settings(n_hidden=2, n_epochs=1, rng=1), ContrastiveDivergence())
    >>> result.info["stopped"], result.info["n_updates"]
    ('n_epochs', 1)
    """
    began = time.perf_counter()
    key = random.key(settings.rng)
    settings.check()
    phase.check(settings)
    executor = _lib.executor(settings.n_threads, settings.kernel)
    data = validation.table("data", data)
    start = prepare(data, settings, key, executor)
    metrics = Metrics(settings, start, data, key, executor)
    packed = core.Data(executor, start.rbm._core, data, values=start.probabilities)
    rate = learning_rate(
        settings.learning_rate,
        lambda: phase.default_rate(start.rbm, data, packed, settings.batch_size, executor),
    )
    trainer = phase.start(start, data, packed, settings, key, executor)
    run = _Run(phase, trainer, start.rbm, metrics, rate, executor, key, len(data), began)
    with phase.session(), progress_bar(settings.progress, settings.n_epochs, "epoch") as bar:
        return run.go(settings.n_epochs, settings.callback, bar)


class _Run:
    """The state of one training run."""

    def __init__(self, phase, trainer, rbm, metrics, rate, executor, key, n_rows, began):
        self.phase, self.trainer, self.rbm = phase, trainer, rbm
        self.metrics, self.rate, self.executor = metrics, rate, executor
        self.key, self.n_rows, self.began = key, n_rows, began
        self.rate_used = None
        columns = ("epoch", "seconds", "metric_seconds", "learning_rate", "update_norm")
        self.columns = {name: [] for name in (*columns, *metrics.names)}
        # Of two continuous layers C cannot know whether they are still normalisable.
        both_continuous = not (rbm.visible.discrete or rbm.hidden.discrete)
        self.good = (rbm.copy(), 0) if both_continuous else None

    def go(self, n_epochs, callback, bar):
        """Train for n_epochs and return the result, or raise with it."""
        stopped = "n_epochs"
        try:
            for epoch in range(1, n_epochs + 1):
                status = self.epoch(epoch)
                bar.update()
                bar.set_postfix({name: self.columns[name][-1] for name in self.metrics.names})
                if callback is not None and callback(
                    TrainingState(epoch, self.rbm, self.history())
                ):
                    stopped = "callback"
                    break
                if status == "converged":
                    stopped = status
                    break
        except KeyboardInterrupt:
            message = f"interrupted after {self.trainer.n_updates} updates"
            raise Interrupted(message, self.result("interrupted")) from None
        return self.result(stopped)

    def epoch(self, epoch):
        """Make one pass over the data, measure, add a line to the history; return the status."""
        self.rate_used = rate = self.rate(epoch)
        began = time.perf_counter()
        status = self.trainer.epoch(self.executor, epoch, rate, self.key)
        trained = time.perf_counter()
        if status == "stopped":
            raise KeyboardInterrupt
        if self.good is not None:
            self.check_normalisable(epoch)
        if status == "diverged":
            self.diverged(epoch, "parameters are no longer finite")
        try:
            measured = self.metrics.measure(self.executor, epoch)
        except core.StatusError as error:  # parameters so large that nothing can be drawn
            self.diverged(epoch, str(error))
        line = {
            "epoch": epoch,
            "seconds": trained - began,
            "metric_seconds": time.perf_counter() - trained,
            "learning_rate": rate,
            "update_norm": self.trainer.update_norm,
            **measured,
        }
        for name, value in line.items():
            if not math.isfinite(value):
                self.diverged(epoch, f"{name} is no longer finite")
        for name, value in line.items():
            self.columns[name].append(value)
        _log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in line.items()))
        return status

    def check_normalisable(self, epoch):
        """Keep a copy of a model that can be normalised; raise with the last one otherwise."""
        try:
            self.rbm.check_normalisable()
        except ValueError:
            self.rbm, n_updates = self.good
            self.diverged(epoch, "the joint precision is no longer positive definite", n_updates)
        self.good = self.rbm.copy(), self.trainer.n_updates

    def diverged(self, epoch, what, n_updates=None):
        """Raise `DivergenceError` with the last good state."""
        raise DivergenceError(
            f"training diverged in epoch {epoch} at learning_rate = {self.rate_used:.4g}: {what}; "
            "lower learning_rate, set max_norm, or standardise real-valued data",
            self.result("diverged", n_updates),
        ) from None

    def history(self):
        """Return the history so far as arrays."""
        return {name: np.array(values, np.float64) for name, values in self.columns.items()}

    def result(self, stopped, n_updates=None):
        """Return the result as it is now; n_updates where the model is older than the trainer."""
        info = provenance(
            self.executor,
            self.key,
            time.perf_counter() - self.began,
            learning_rate=self.rate_used,
            n_updates=self.trainer.n_updates if n_updates is None else n_updates,
            n_rows=self.n_rows,
            stopped=stopped,
            **self.phase.info(self.trainer),
        )
        chains = self.phase.final_chains(self.trainer, self.rbm)
        return TrainingResult(self.rbm, self.history(), chains, info)
