"""The configuration of a training run, whatever its negative phase, and its checks."""

import dataclasses
from collections.abc import Callable

from .. import validation
from ..model import check_model


class LeftOut(int):
    """An int default that can be told from the same number given by the caller.

    Examples
    --------
    >>> from fastrbm.training.settings import LeftOut
    >>> LeftOut(64), isinstance(64, LeftOut)
    (64, False)
    """

    __slots__ = ()


class LeftOutFloat(float):
    """The same for a float.

    Examples
    --------
    >>> from fastrbm.training.settings import LeftOutFloat
    >>> LeftOutFloat(0.5), isinstance(0.5, LeftOutFloat)
    (0.5, False)
    """

    __slots__ = ()


@dataclasses.dataclass
class Settings:
    """Arguments common to every training function; their meaning is in `train_cd`.

    Examples
    --------
    >>> from fastrbm.training.settings import Settings
    >>> Settings(n_epochs=3).check().n_epochs
    3
    >>> Settings(batch_size=0).check()
    Traceback (most recent call last):
    ValueError: batch_size must be an integer >= 1, got 0
    """

    n_hidden: int = LeftOut(64)
    hidden: object = "auto"
    visible: object = "auto"
    model: object = None
    n_epochs: int = 10
    batch_size: int = LeftOut(100)
    learning_rate: float | Callable | None = None
    momentum: float = LeftOutFloat(0.5)
    weight_decay: float = 1e-4
    max_norm: float | None = None
    freeze: tuple = ()
    metrics: tuple | None = None
    metrics_rows: int = 1000
    validation_data: object = None
    callback: Callable | None = None
    dtype: object = None
    rng: object = None
    n_threads: int | None = None
    progress: bool = False
    kernel: str = "auto"

    def check(self):
        """Check all that can be checked without the data, normalise it, and return self."""
        if self.model is not None:
            check_model("model", self.model)
        if not isinstance(self.n_hidden, LeftOut):
            self.n_hidden = validation.integer("n_hidden", self.n_hidden, 1)
        self.n_epochs = validation.integer("n_epochs", self.n_epochs, 0)
        self.batch_size = validation.integer("batch_size", self.batch_size, 1)
        self.metrics_rows = validation.integer("metrics_rows", self.metrics_rows, 1)
        if self.learning_rate is not None and not callable(self.learning_rate):
            self.learning_rate = validation.number("learning_rate", self.learning_rate, minimum=0)
        self.momentum = validation.number("momentum", self.momentum, minimum=0, below=1)
        self.weight_decay = validation.number("weight_decay", self.weight_decay, minimum=0)
        if self.max_norm is not None:
            self.max_norm = validation.number(
                "max_norm", self.max_norm, minimum=0, open_minimum=True
            )
        self.freeze = _names("freeze", self.freeze)
        if self.metrics is not None:
            self.metrics = _names("metrics", self.metrics)
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable, got {self.callback!r}")
        if self.dtype is not None:
            self.dtype = validation.model_dtype("dtype", self.dtype)
        self.progress = validation.flag("progress", self.progress)
        validation.choice("kernel", self.kernel, validation.KERNELS)
        return self


def _names(argument, value):
    """Return one name or several as a tuple of str."""
    names = (value,) if isinstance(value, str) else value
    try:
        names = tuple(names)
    except TypeError:
        names = (None,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{argument} must be names, got {value!r}")
    return names
