"""L-BFGS as a trainer of the one loop: an epoch is one run of SciPy's, by the exact gradient.

R. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained optimization",
SIAM Journal on Scientific Computing 16 (1995). Objective and gradient are in double precision
whatever the model's type, since a line search compares log-likelihoods to many digits; the model
receives the vector, rounded, after each epoch.
"""

import numpy as np

from .._lib import core
from ..evaluation.gap import BLOCK_ROWS, mean_free_energy

#: Iterations of L-BFGS in an epoch.
ITERATIONS = 50
#: Steps and gradients that L-BFGS remembers. Twice SciPy's default: beside an exact gradient the
#: vectors cost nothing.
MEMORY = 20
#: The largest gradient component, in nats per unit of a parameter, at which L-BFGS has converged.
GRADIENT_TOLERANCE = 1e-9


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
        self.n_updates, self.update_norm = 0, 0.0
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
