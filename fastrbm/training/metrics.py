"""What is measured after each epoch, on one fixed random set of training rows.

A metric is a function of a `Probe` in the table `METRICS`; a new one is a new line there.
"""

import dataclasses
import functools

import numpy as np

from .. import validation
from .._lib import core
from ..evaluation.exact import log_partition
from ..evaluation.exact.partition import choose, machine_bytes, refuse
from ..evaluation.exact.plan import Run
from ..evaluation.exact.problem import Problem
from ..evaluation.gap import mean_free_energy
from .start import check_states, finite_scan

#: The log-likelihood is refused where log Z would take longer than this, each epoch.
LOG_Z_SECONDS = 600.0


@dataclasses.dataclass
class Probe:
    """What a metric may look at.

    Attributes
    ----------
    rbm : RBM
    executor : fastrbm._lib.core.Exec
    key, epoch : int
        The key of the run; the epoch is the step of its random numbers.
    rows : ndarray (metrics_rows, n_visible)
        The fixed training rows, as states.
    held_out : ndarray or None
        `validation_data`, as states.
    training : tuple (ndarray, ndarray of int) or None
        The training data and as many of its rows as `held_out` has.

    Examples
    --------
    >>> from fastrbm.training.metrics import Probe
    >>> Probe(None, None, 7, 1, None, None, None).key
    7
    """

    rbm: object
    executor: object
    key: int
    epoch: int
    rows: np.ndarray
    held_out: np.ndarray | None
    training: tuple | None

    @functools.cached_property
    def log_z(self):
        """float: log Z of the model, computed when first asked for."""
        return log_partition(
            self.rbm, max_seconds=LOG_Z_SECONDS, n_threads=self.executor.n_threads
        ).value

    def log_likelihood(self, rows):
        """Return the mean log-likelihood of rows of states, nats."""
        return -mean_free_energy(self.rbm, rows, executor=self.executor) - self.log_z


def _reconstruction_error(probe):
    core_rbm = probe.rbm._core
    return core_rbm.reconstruction_error(probe.executor, probe.rows, probe.key, probe.epoch).mean()


def _pseudo_likelihood(probe, exact=False):
    core_rbm = probe.rbm._core
    rows = core_rbm.pseudo_likelihood(probe.executor, probe.rows, exact, probe.key, probe.epoch)
    return rows.mean()


def _exact_pseudo_likelihood(probe):
    return _pseudo_likelihood(probe, exact=True)


def _free_energy_gap(probe):
    held_out = mean_free_energy(probe.rbm, probe.held_out, executor=probe.executor)
    return held_out - mean_free_energy(probe.rbm, *probe.training, executor=probe.executor)


def _log_likelihood(probe):
    return probe.log_likelihood(probe.rows)


def _validation_log_likelihood(probe):
    return probe.log_likelihood(probe.held_out)


#: Metrics by name.
METRICS = {
    "reconstruction_error": _reconstruction_error,
    "pseudo_likelihood": _pseudo_likelihood,
    "exact_pseudo_likelihood": _exact_pseudo_likelihood,
    "free_energy_gap": _free_energy_gap,
    "log_likelihood": _log_likelihood,
    "validation_log_likelihood": _validation_log_likelihood,
}
#: Those that need validation_data.
HELD_OUT = {"free_energy_gap", "validation_log_likelihood"}


def _check_log_z(rbm, n_threads):
    """Raise `TooLarge` before any work where log Z would take too long."""
    run = Run(n_threads, LOG_Z_SECONDS, machine_bytes())
    plan, _ = choose(Problem(rbm, 1.0), "auto", run)
    refuse(plan, plan.seconds(run.n_threads), plan.bytes(run.n_threads), run)


class Metrics:
    """The metrics of one training run.

    Parameters
    ----------
    settings : Settings
        metrics, metrics_rows and validation_data.
    start : Start
    data : ndarray (n_samples, n_visible)
        Checked training data.
    key : int
        The key of the run.
    executor : fastrbm._lib.core.Exec

    Raises
    ------
    TypeError, ValueError
        For unknown names, names that do not suit the model, and validation data that do not.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import _lib
    >>> from fastrbm.training.metrics import Metrics
    >>> from fastrbm.training.settings import Settings
    >>> from fastrbm.training.start import prepare
    >>> data = np.array([[0, 1], [1, 1]])
    >>> settings = Settings(metrics=()).check()
    >>> Metrics(settings, prepare(data, settings, key=1), data, 1, _lib.executor()).names
    ()
    """

    def __init__(self, settings, start, data, key, executor):
        discrete = start.rbm.visible.discrete
        names = settings.metrics
        if names is None:
            names = ("reconstruction_error", "pseudo_likelihood")[: 2 if discrete else 1]
        for name in names:
            validation.choice("metrics", name, tuple(METRICS))
            if name.endswith("pseudo_likelihood") and not discrete:
                raise ValueError(
                    f"metrics: {name} needs discrete visible units, got {start.rbm.visible!r}"
                )
            if name in HELD_OUT and settings.validation_data is None:
                raise ValueError(f"metrics: {name} needs validation_data")
        if "log_likelihood" in names and settings.validation_data is not None:
            extra = "validation_log_likelihood"
            names = tuple(
                column
                for name in names
                for column in ((name, extra) if name == "log_likelihood" else (name,))
                if name != extra
            )
        if any(name.endswith("log_likelihood") for name in names):
            _check_log_z(start.rbm, settings.n_threads)
        self.names = names
        self._rbm, self._key = start.rbm, key
        self._rows = self._held_out = self._training = None
        held_out = settings.validation_data
        if held_out is not None:
            held_out = validation.table("validation_data", held_out, start.rbm.n_visible)
            largest = float(np.finfo(start.rbm.dtype).max)
            scan = finite_scan("validation_data", held_out, largest, executor)
            fractions = check_states(
                "validation_data", held_out, scan, start.rbm.visible, start.probabilities
            )
        if set(names) - HELD_OUT:
            rows = self._choose(0, data, settings.metrics_rows)
            self._rows = self._states(2, data, rows, start.probabilities)
        if set(names) & HELD_OUT:
            self._held_out = held_out
            if fractions:
                self._held_out = self._states(3, held_out, np.arange(len(held_out)), True)
        if "free_energy_gap" in names:
            rows = self._choose(1, data, len(held_out))
            self._training = (data, rows)
            if start.probabilities:
                self._training = (self._states(4, data, rows, True), None)

    def measure(self, executor, epoch):
        """Return the metrics of the present model as a dict of floats."""
        probe = Probe(
            self._rbm,
            executor,
            self._key,
            epoch,
            self._rows,
            self._held_out,
            self._training,
        )
        return {name: float(METRICS[name](probe)) for name in self.names}

    def _choose(self, use, data, n):
        """Return n different rows in ascending order, or all where there are not more."""
        purpose = core.purposes()["METRIC_ROWS"]
        return np.sort(core.choice(self._key, purpose, use, len(data), min(n, len(data))))

    def _states(self, use, data, rows, probabilities):
        """Gather rows compactly: int8 for discrete units; probabilities are drawn once."""
        layer = self._rbm.visible
        purpose = core.purposes()["METRIC_ROWS"]
        out = np.empty((len(rows), layer.n), np.int8 if layer.discrete else self._rbm.dtype)
        if not probabilities:
            out[:] = data[rows]
            return out
        for i, row in enumerate(rows):
            words = core.uniform_bits(self._key, purpose, use, i, layer.n)
            out[i] = words < data[row] * 2.0**32
        return out
