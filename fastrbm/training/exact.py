"""Maximum likelihood with its exact gradient: `train_exact`, and its negative phase.

    d log p(data) / d W = <v E[h | v]>_data - <v h>_model,

and the same with <v> and <h> for the biases (D. Ackley, G. Hinton, T. Sejnowski, "A learning
algorithm for Boltzmann machines", Cognitive Science 9 (1985)). The model term is that of
`fastrbm.exact_moments`, computed anew for every update: "sgd" is the update of `train_cd` with it
in place of chains, in the same C code; "lbfgs" (lbfgs.py) hands log-likelihood and gradient to
SciPy.
"""

import contextlib
import dataclasses
import functools

import numpy as np

from .. import validation
from .._lib import core
from ..blas import one_blas_thread
from ..evaluation.exact.moments import gradient_source
from .lbfgs import QuasiNewton
from .loop import train
from .rate import default_rate, steady_rate
from .settings import LeftOut, LeftOutFloat, Settings


@dataclasses.dataclass
class ExactGradient:
    """The negative phase of `train_exact`: the moments of the model itself.

    `given` names what the caller gave of the arguments that L-BFGS has no use for.

    Examples
    --------
    >>> from fastrbm.training.exact import ExactGradient
    >>> from fastrbm.training.settings import Settings
    >>> ExactGradient("lbfgs", given=("momentum",)).check(Settings())
    Traceback (most recent call last):
    ValueError: momentum does not go with optimizer='lbfgs', which uses all rows and chooses its \
own steps
    """

    optimizer: str = "sgd"
    max_seconds: float | None = 60.0
    max_bytes: float | None = None
    given: tuple = ()
    source: object = None

    def check(self, settings):
        """Check what can be checked without the data."""
        validation.choice("optimizer", self.optimizer, ("sgd", "lbfgs"))
        for name in ("max_seconds", "max_bytes"):
            if getattr(self, name) is not None:
                validation.number(name, getattr(self, name), minimum=0, open_minimum=True)
        if self.optimizer == "sgd":
            return
        for name in self.given:
            raise ValueError(
                f"{name} does not go with optimizer='lbfgs', which uses all rows and chooses its "
                "own steps"
            )
        settings.learning_rate = 1.0  # times the steps that L-BFGS chooses
        settings.batch_size = validation.MOST

    def default_rate(self, rbm, data, packed, batch_size, executor):
        """Return the learning rate where none is given: that of CD where it is safe."""
        return min(default_rate(rbm, packed, batch_size, executor), steady_rate(rbm, data))

    def start(self, start, data, packed, settings, key, executor):
        """Return a trainer after making sure that the model's moments can be had."""
        # L-BFGS compares log-likelihoods: it works on a model in double precision.
        sgd = self.optimizer == "sgd"
        rbm = start.rbm if sgd else start.rbm.astype(np.float64)
        self.source = source = gradient_source(
            rbm,
            n_threads=executor.n_threads,
            max_seconds=self.max_seconds,
            max_bytes=self.max_bytes,
        )
        # Compiled code where there is some: no Python for an update then.
        ask = functools.partial(source.fill, executor)
        if source.split is not None:
            ask = core.SplitSource(source.split)
        trainer = core.Trainer(
            rbm._core,
            packed,
            0,
            False,
            False,
            settings.batch_size,
            0,
            settings.momentum if sgd else 0.0,
            settings.weight_decay,
            settings.max_norm or 0.0,
            start.frozen,
            executor.n_threads,
            source=ask,
        )
        if sgd:
            return trainer
        return QuasiNewton(rbm, start, data, settings.weight_decay, trainer, source)

    def session(self):
        """Return what surrounds the epochs: BLAS on one thread where Python computes moments."""
        compiled = self.source.split is not None
        return contextlib.nullcontext() if compiled else one_blas_thread()

    def info(self, trainer):
        """Return what goes into ``result.info``."""
        return {
            "optimizer": self.optimizer,
            "method": self.source.name,
            "reason": self.source.reason,
        }

    def final_chains(self, trainer, rbm):
        """Return None: there are no chains."""


def train_exact(
    data,
    *,
    n_hidden=Settings.n_hidden,
    hidden="auto",
    visible="auto",
    model=None,
    optimizer="sgd",
    n_epochs=10,
    batch_size=Settings.batch_size,
    learning_rate=None,
    momentum=Settings.momentum,
    weight_decay=1e-4,
    max_norm=None,
    freeze=(),
    metrics=None,
    metrics_rows=1000,
    validation_data=None,
    callback=None,
    dtype=None,
    rng=None,
    n_threads=None,
    progress=False,
    kernel="auto",
    max_seconds=60,
    max_bytes=None,
):
    """Train a small RBM by the exact gradient of its log-likelihood.

    The gradient is the mean of v E[h | v] over the rows of a mini-batch minus <v h> of the model
    itself, by the cheapest exact method; all else is as in `train_cd`, which from one seed starts
    at the same model and takes the rows in the same order.

    Parameters
    ----------
    data : array_like (n_samples, n_visible)
        As in `train_cd`, with all that follows and is not named here.
    n_hidden : int, default 64
    hidden : {"auto", "bernoulli", "spin", "gaussian"} or Layer
    visible : {"auto", "bernoulli", "spin", "gaussian"} or Layer
    model : RBM, optional
        Where training goes on from; not changed.
    optimizer : {"sgd", "lbfgs"}
        "sgd": velocity = momentum velocity + gradient - weight_decay W (weights only); parameter
        += learning_rate velocity. "lbfgs": L-BFGS of SciPy on all rows, 50 iterations an epoch;
        it maximises the mean log-likelihood minus weight_decay |W|^2 / 2, ends with an epoch that
        finds nothing to improve (``result.info["stopped"]`` is then "converged"), and has no
        batch_size, learning_rate, momentum or max_norm. Optima at infinity (of a model that can
        fit all rows) are approached with ever larger weights.
    n_epochs : int, default 10
    batch_size : int or None, default 100
        None takes all rows.
    learning_rate : float or callable(epoch), optional
        By default that of `train_cd`, but at most 24 / (mean |v|^2 span^2), span^2 being n_hidden
        for Bernoulli, 4 n_hidden for Spin and 30 n_visible / min(precision) for Gaussian hidden
        units: the exact likelihood is curved by |D|^2 / 4 where the model divides its probability
        between regions whose v h^T differ by D, and longer steps swing it to and fro.
    momentum : float in [0, 1), default 0.5
    weight_decay : float, default 1e-4
    max_norm : float, optional
    freeze : sequence of str
    metrics : sequence of str, optional
        "log_likelihood" is exact: nats per row of the training rows and, as
        "validation_log_likelihood", of `validation_data` where given.
    metrics_rows : int, default 1000
    validation_data : array_like (n_rows, n_visible), optional
    callback : callable, optional
    dtype : {float32, float64}, optional
    rng : None, int, SeedSequence, BitGenerator or Generator
    n_threads : int, optional
    progress : bool, default False
    max_seconds : float or None, default 60
        A model whose gradient would take longer is refused beforehand; None refuses none.
    max_bytes : float, optional
        The same for the memory that a gradient would take.
    kernel : {"auto", "tables", "rows"}
        How products of binary states with weights are made: from tables of partial sums, by adding
        the selected rows of weights, or ("auto") by whichever is cheaper for what is multiplied.
        The result does not depend on it.

    Returns
    -------
    TrainingResult
        ``.model``, ``.history``, ``.info``; ``.chains`` is None. ``.info["method"]`` and
        ``.info["reason"]`` say how the gradient was computed.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, before any work.
    TooLarge
        A ValueError, for models beyond `max_seconds` or `max_bytes`, with the estimate.
    DivergenceError
        When parameters stop being finite, or two continuous layers normalisable; ``.result`` is
        the state after the last good update.
    Interrupted
        On Ctrl-C; ``.result`` is the state after the last whole update.

    Notes
    -----
    An update costs one call of `exact_moments`, in general 2^n times the units of the other layer
    for n enumerated units. Every update is checked for divergence.

    Examples
    --------
    >>> import fastrbm
    >>> data = fastrbm.datasets.bars_and_stripes(3)
    >>> result = fastrbm.train_exact(
    ...     data, n_hidden=16, optimizer="lbfgs", weight_decay=0, metrics=["log_likelihood"], rng=1
    ... )
    >>> bool(result.history["log_likelihood"][-1] > -np.log(14) - 1e-3)  # 14 patterns, learnt
    True
    """
    left_out = {
        "batch_size": batch_size is None or isinstance(batch_size, LeftOut),
        "learning_rate": learning_rate is None,
        "momentum": isinstance(momentum, LeftOutFloat),
        "max_norm": max_norm is None,
    }
    settings = Settings(
        n_hidden=n_hidden,
        hidden=hidden,
        visible=visible,
        model=model,
        n_epochs=n_epochs,
        batch_size=validation.MOST if batch_size is None else batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        max_norm=max_norm,
        freeze=freeze,
        metrics=metrics,
        metrics_rows=metrics_rows,
        validation_data=validation_data,
        callback=callback,
        dtype=dtype,
        rng=rng,
        n_threads=n_threads,
        progress=progress,
        kernel=kernel,
    )
    given = tuple(name for name, is_left_out in left_out.items() if not is_left_out)
    return train(data, settings, ExactGradient(optimizer, max_seconds, max_bytes, given))
