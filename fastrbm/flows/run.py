"""What both ways of training share: the descent, its record, its best weights, its ends.

A run is cut into stretches (epochs of `fit`, 100 steps of `fit_energy`). At the end of each the
state is copied, so that an interrupted run goes on from the last whole stretch, bit for bit as if
it had not been interrupted; all random numbers of a stretch follow from the run's key and its
number. Whatever ends the run, the flow is left with the best weights so far.
"""

import dataclasses
import importlib.metadata
import math
import time

import numpy as np

from .. import validation
from ..errors import ConvergenceError, DivergenceError, Interrupted
from ..progress import progress_bar
from .adam import Adam, clip, factor
from .module import scatter
from .team import team


@dataclasses.dataclass(eq=False)
class FlowResult:
    """What `Flow.fit` and `Flow.fit_energy` return.

    Attributes
    ----------
    flow : Flow
        The trained flow itself, with the best weights.
    history : dict of ndarray
        float64, one entry for each stretch.
    info : dict
        key, optimizer, n_parameters, n_updates, seconds, best (the stretch of the best weights),
        stopped ("finished", "callback", "patience", "converged", "stalled" (L-BFGS
        found no step), "interrupted" or "diverged"),
        versions.
    state : dict
        What ``resume=`` needs to go on.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import flows
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> flows.nice(dim=2, width=8, rng=0).fit(x, n_epochs=2, rng=1)
    FlowResult(2 epochs, 4 updates, finished)
    """

    flow: object
    history: dict
    info: dict
    state: dict

    def __repr__(self):
        unit = "epochs" if "epoch" in self.history else "stretches"
        counts = f"{len(self.history['seconds'])} {unit}, {self.info['n_updates']} updates"
        return f"FlowResult({counts}, {self.info['stopped']})"


@dataclasses.dataclass(eq=False)
class FlowState:
    """What a callback sees after each stretch.

    Attributes
    ----------
    flow : Flow
        With the current weights.
    history : dict of ndarray
        Up to this stretch.
    epoch or step : int
        How far the run is.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import flows
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> stop = lambda state: state.epoch == 3
    >>> len(flows.nice(dim=2, width=8, rng=0).fit(x, callback=stop, rng=1).history["nll"])
    3
    """

    flow: object
    history: dict
    epoch: int = 0
    step: int = 0


class Run:
    """One training run of a flow.

    Parameters
    ----------
    flow : Flow
    unit : {"epoch", "step"}
        What history counts.
    total : int
        Updates of the whole run, which the schedule sees.
    stretches : int
    monitor : str
        The entry of history that is best where it is lowest.
    options : Options
    """

    def __init__(self, flow, unit, total, stretches, monitor, options):
        self.flow, self.unit, self.total, self.monitor = flow, unit, total, monitor
        self.stretches, self.options = stretches, options
        state = options.resume.state if options.resume is not None else None
        self.started = time.perf_counter()
        self.arrays = list(flow.parameters.values())  # walking the tree costs more than filling it
        if state is None:
            self.key, self.done, self.earlier = options.key, 0, 0.0
            self.theta = flow.ravel()
            self.adam = Adam(len(self.theta), flow.dtype)
            self.records, self.best, self.best_at = [], math.inf, 0
            self.best_arrays = flow.snapshot()
            self.save_state()
        else:
            if state["kind"] != self.kind:
                raise ValueError(
                    "resume must come from a run of the same method and optimizer, of a flow of "
                    f"the same layers: got {options.resume!r}"
                )
            self.state = state
            self.load_state()

    @property
    def kind(self):
        """What a run that goes on from this one must agree with."""
        shapes = {name: array.shape for name, array in self.flow.parameters.items()}
        return self.unit, self.options.optimizer, shapes

    def save_state(self):
        """Keep all that the rest of the run follows from."""
        self.state = {
            "key": self.key,
            "done": self.done,
            "kind": self.kind,
            "arrays": self.flow.snapshot(),
            "adam": self.adam.copy(),
            "records": list(self.records),
            "best": (self.best, self.best_at, self.best_arrays),
            "seconds": self.seconds,
        }

    def load_state(self):
        state = self.state
        self.key, self.done, self.earlier = state["key"], state["done"], state["seconds"]
        self.flow.restore(state["arrays"])
        self.theta, self.adam = self.flow.ravel(), state["adam"].copy()
        self.records = list(state["records"])
        self.best, self.best_at, self.best_arrays = state["best"]

    @property
    def seconds(self):
        return self.earlier + time.perf_counter() - self.started

    def update(self, loss, gradient):
        """Make one step of Adam with the scheduled rate; return the gradient's norm."""
        norm = clip(gradient, self.options.max_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotFinite
        self.adam.step(self.theta, gradient, self.rate)
        scatter(self.theta, self.arrays)
        return norm

    @property
    def rate(self):
        """The learning rate of the next update."""
        options = self.options
        part = self.adam.n_steps / self.total
        change = validation.number(f"schedule({part:g})", factor(options.schedule, part), minimum=0)
        return options.learning_rate * change

    @property
    def history(self):
        names = self.records[0] if self.records else (self.unit, "seconds", self.monitor)
        return {
            name: np.array([record[name] for record in self.records], np.float64) for name in names
        }

    def go(self, body):
        """Call `body`, which reports stretch after stretch, and return the result."""
        self.stopped, failure = "finished", None
        _keep_freed_memory()
        try:
            bar = progress_bar(self.options.progress, self.stretches, self.unit)
            # Numbers beyond all bounds end the run by name, not by a warning.
            with bar as self.bar, team(2), np.errstate(all="ignore"):
                self.bar.update(self.done)
                if self.done < self.stretches:
                    body()
        except KeyboardInterrupt as interrupt:
            self.stopped, failure = "interrupted", interrupt
        except (NotFinite, ConvergenceError) as divergence:
            self.stopped, failure = "diverged", divergence
        finally:
            self.flow.restore(self.best_arrays)
        result = self.result()
        if self.stopped == "interrupted":
            raise Interrupted(
                f"training was interrupted after {self.done} of {self.stretches} {self._plural}",
                result=result,
            ) from failure
        if self.stopped == "diverged":
            hint = "; a lower learning_rate helps" if self.options.optimizer == "adam" else ""
            raise DivergenceError(
                f"training diverged after {self.done} {self._plural}: loss or gradient is not "
                f"finite{hint}",
                result=result,
            ) from failure
        return result

    def report(self, record):
        """End a stretch: keep its record, state and perhaps weights; say whether to go on."""
        value = record[self.monitor]
        if not math.isfinite(value):
            raise NotFinite
        self.done += 1
        self.records.append(record)
        if value < self.best:
            self.best, self.best_at, self.best_arrays = value, self.done, self.flow.snapshot()
        self.bar.set_postfix({self.monitor: f"{value:.4g}"})
        self.bar.update()
        options = self.options
        if options.callback is not None:
            state = FlowState(self.flow, self.history, **{self.unit: int(record[self.unit])})
            answer = options.callback(state)
            if answer is not None and not isinstance(answer, (bool, np.bool_)):
                raise TypeError(f"callback must return None or a bool, got {answer!r}")
            self.theta = self.flow.ravel()  # it may have changed the weights
            if answer:
                self.stopped = "callback"
        if options.patience is not None and self.done - self.best_at >= options.patience:
            self.stopped = "patience"
        self.save_state()
        return self.stopped == "finished" and self.done < self.stretches

    def result(self):
        """Return what has been reached."""
        info = {
            "key": self.key,
            "optimizer": self.options.optimizer,
            "n_parameters": len(self.theta),
            "n_updates": self.n_updates,
            "seconds": self.seconds,
            "best": self.best_at,
            "stopped": self.stopped,
            "versions": {
                name: importlib.metadata.version(name) for name in ("fastrbm", "numpy", "scipy")
            },
        }
        return FlowResult(self.flow, self.history, info, self.state)

    @property
    def n_updates(self):
        """Steps of Adam, or iterations of L-BFGS."""
        return self.adam.n_steps if self.options.optimizer == "adam" else self.done

    @property
    def _plural(self):
        return "epochs" if self.unit == "epoch" else "stretches of steps"


class NotFinite(ArithmeticError):
    """Loss or gradient is not finite."""


def _keep_freed_memory():
    """Free one large block, after which glibc keeps the heap's end instead of giving it back.

    Its limits follow the largest block freed. Without this each step's arrays, freed together, go
    back to the system and fault in again: a third of the time of a step. Elsewhere it does nothing.
    """
    np.empty(_JUST_BELOW_GLIBC_MAXIMUM, np.uint8)


#: Bytes; glibc ignores blocks of more than 32 MiB. The block is never touched.
_JUST_BELOW_GLIBC_MAXIMUM = 31 << 20
