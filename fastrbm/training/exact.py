"""Maximum likelihood with its exact gradient: `train_exact`, and its negative phase.

    d log p(data) / d W = <v E[h | v]>_data - <v h>_model,

and the same with <v> and <h> for the biases (D. Ackley, G. Hinton, T. Sejnowski, "A learning
algorithm for Boltzmann machines", Cognitive Science 9 (1985)). The model term is that of
`fastrbm.exact_moments`, computed anew for every update: "sgd" is the update of `train_cd` with it
in place of chains, in the same C code; "lbfgs" hands log-likelihood and gradient to SciPy (R. Byrd,
P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM
Journal on Scientific Computing 16 (1995)).
"""

import dataclasses
import functools

import numpy as np

from .. import validation
from .._lib import core
from ..evaluation.exact.moments import gradient_source
from ..evaluation.gap import BLOCK_ROWS, mean_free_energy
from .loop import train
from .rate import default_rate, steady_rate
from .settings import LeftOut, LeftOutFloat, Settings

#: Iterations of L-BFGS in an epoch.
ITERATIONS = 50
#: Steps and gradients that L-BFGS remembers. Twice SciPy's default: beside an exact gradient the
#: vectors cost nothing.
MEMORY = 20
#: The largest gradient component, in nats per unit of a parameter, at which L-BFGS has converged.
GRADIENT_TOLERANCE = 1e-9


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

    def info(self, trainer):
        """Return what goes into ``result.info``."""
        return {
            "kernel": trainer.kernel,
            "optimizer": self.optimizer,
            "method": self.source.name,
            "reason": self.source.reason,
        }

    def final_chains(self, trainer, rbm):
        """Return None: there are no chains."""


class QuasiNewton:
    """A trainer whose epoch is a run of L-BFGS from where the last one ended.

    Maximises the mean log-likelihood of the data minus weight_decay |W|^2 / 2, whose maximum is
    where the update of "sgd" comes to rest. An update is an iteration.

    Parameters
    ----------
    rbm : RBM
        Works in double precision; `start.rbm` receives it, rounded, after each epoch.
    start : Start
    data : ndarray (n_samples, n_visible)
    weight_decay : float
    trainer : fastrbm._lib.core.Trainer
        Of `rbm`; it computes the data term of the gradient.
    source : object
        The moments of `rbm`.
    """

    def __init__(self, rbm, start, data, weight_decay, trainer, source):
        self.rbm, self.target, self.data = rbm, start.rbm, data
        self.probabilities, self.weight_decay = start.probabilities, weight_decay
        self.trainer, self.source = trainer, source
        self.kernel, self.n_updates, self.update_norm = trainer.kernel, 0, 0.0
        learned = [_learned(layer) for layer in (rbm.visible, rbm.hidden)]
        shapes = (rbm.weights.shape, *(sum(len(a) for a in arrays.values()) for arrays in learned))
        self.model_term, self.data_term = ([np.zeros(s) for s in shapes] for _ in range(2))
        self.decays = "weights" not in start.frozen
        #: What moves, and the number of the gradient and the place in it that belongs to each.
        self.moving = [(rbm.weights, 0, slice(None))] if self.decays else []
        for side, arrays in zip(("visible", "hidden"), learned, strict=True):
            first = 0
            for name, array in arrays.items():
                if f"{side}_{name}" not in start.frozen:
                    number = 1 if side == "visible" else 2
                    self.moving.append((array, number, slice(first, first + len(array))))
                first += len(array)

    def epoch(self, executor, epoch, learning_rate, key):
        """Make one run: "done", "converged" (no step was found), "stopped" or "diverged"."""
        from scipy.optimize import minimize  # a tenth of a second that few callers need

        self._load()
        self.executor, self.value, self.steps, self.update_norm = executor, np.inf, [], 0.0
        self.accepted = self._vector()
        if not self.moving:
            return "converged"
        options = {
            "maxiter": ITERATIONS,
            "maxfun": 20 * ITERATIONS,
            "maxcor": MEMORY,
            "ftol": np.finfo(np.float64).eps,
            "gtol": GRADIENT_TOLERANCE,
        }
        try:
            minimize(
                self._evaluate, self.accepted, jac=True, method="L-BFGS-B", callback=self._accept,
                options=options,
            )  # fmt: skip
        except KeyboardInterrupt:
            return "stopped" if self._publish() else "diverged"
        if not self._publish():
            return "diverged"
        return "done" if self.steps else "converged"

    def _vector(self):
        return np.concatenate([array.ravel() for array, _, _ in self.moving] or [np.zeros(0)])

    def _set(self, x):
        """Write a vector into the working model."""
        first = 0
        for array, _, _ in self.moving:
            array[...] = x[first : first + array.size].reshape(array.shape)
            first += array.size

    def _load(self):
        """Take over what a callback changed; what nobody changed keeps its double precision."""
        for mine, given in zip(_arrays(self.rbm), _arrays(self.target), strict=True):
            if not np.array_equal(mine.astype(given.dtype), given):
                mine[...] = given

    def _publish(self):
        """Write the last accepted vector into the model, unless that cannot hold it."""
        self._set(self.accepted)
        if not self.rbm.astype(self.target.dtype)._core.is_finite():
            return False
        for mine, given in zip(_arrays(self.rbm), _arrays(self.target), strict=True):
            given[...] = mine
        return True

    def _accept(self, x):
        """Note an iteration: an update."""
        before = self.accepted
        self.accepted = x.copy()
        n = self.rbm.weights.size if self.decays else 0
        self.steps.append(float(np.sum((x[:n] - before[:n]) ** 2)))
        self.update_norm = float(np.sqrt(np.mean(self.steps)))
        self.n_updates += 1

    def _evaluate(self, x):
        """Return minus the objective and its gradient."""
        self._set(x)
        try:
            log_z = self.source.fill(self.executor, *self.model_term)
        except (ArithmeticError, core.StatusError):  # beyond what can be normalised: a wall
            return self.value + abs(self.value) + 1.0, np.zeros(len(x))
        self.trainer.data_term(self.executor, *self.data_term)
        gradient = [
            model - data for model, data in zip(self.model_term, self.data_term, strict=True)
        ]
        self.value = log_z + self._mean_free_energy()
        if self.decays:
            gradient[0] += self.weight_decay * self.rbm.weights
            self.value += self.weight_decay / 2 * float(np.sum(self.rbm.weights**2))
        return self.value, np.concatenate(
            [gradient[number][place].ravel() for _, number, place in self.moving]
        )

    def _mean_free_energy(self):
        if not self.probabilities:
            return mean_free_energy(self.rbm, self.data, executor=self.executor)
        # Probabilities take the place of states, as in the gradient.
        total = 0.0
        for first in range(0, len(self.data), BLOCK_ROWS):
            block = self.data[first : first + BLOCK_ROWS].astype(np.float64)
            total -= float(np.sum(block @ self.rbm.visible.bias))
            total -= float(np.sum(self.rbm.hidden.cgf(block @ self.rbm.weights)))
        return total / len(self.data)


def _learned(layer):
    """Return the parameters of a layer that training moves, by name."""
    items = layer.parameters.items()
    return {name: array for name, array in items if not name.startswith("precision")}


def _arrays(rbm):
    """Return all parameters of a model."""
    return [rbm.weights, *rbm.visible.parameters.values(), *rbm.hidden.parameters.values()]


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
    )
    given = tuple(name for name, is_left_out in left_out.items() if not is_left_out)
    return train(data, settings, ExactGradient(optimizer, max_seconds, max_bytes, given))
