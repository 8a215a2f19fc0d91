"""The options that `fit` and `fit_energy` share, checked before any work."""

import dataclasses

from .. import random, validation
from .adam import SCHEDULES
from .run import FlowResult


@dataclasses.dataclass
class Options:
    """Checked options of a training run; see `Flow.fit`."""

    learning_rate: float
    optimizer: str
    schedule: object
    max_norm: float | None
    callback: object
    resume: FlowResult | None
    progress: bool
    key: int
    patience: int | None = None


def check(optimizers, rng, patience=None, **given):
    """Return `Options`, or raise one error that names the argument.

    Examples
    --------
    >>> from fastrbm import flows
    >>> flows.nice(dim=2, rng=0).fit([[0.0, 1.0], [1.0, 0.0]], learning_rate=-1)
    Traceback (most recent call last):
    ValueError: learning_rate must be a finite number >= 0, got -1
    """
    key = random.key(rng)
    validation.number("learning_rate", given["learning_rate"], minimum=0)
    validation.choice("optimizer", given["optimizer"], optimizers)
    if not callable(given["schedule"]):
        validation.choice("schedule", given["schedule"], SCHEDULES)
    if given["max_norm"] is not None:
        validation.number("max_norm", given["max_norm"], minimum=0, open_minimum=True)
    if given["callback"] is not None and not callable(given["callback"]):
        raise TypeError(f"callback must be callable, got {given['callback']!r}")
    validation.flag("progress", given["progress"])
    if patience is not None:
        patience = validation.integer("patience", patience, 1)
    resume = given["resume"]
    if resume is not None and not isinstance(resume, FlowResult):
        raise TypeError(f"resume must be the result of a former run, got {resume!r}")
    return Options(key=key, patience=patience, **given)
