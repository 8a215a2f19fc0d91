"""What a training run hands out: its result, and the state that a callback sees."""

import dataclasses

import numpy as np

from ..model import RBM


@dataclasses.dataclass(eq=False)
class TrainingResult:
    """What a training function returns.

    Attributes
    ----------
    model : RBM
        The trained model.
    history : dict of ndarray
        float64, one entry per finished epoch: epoch (from 1), seconds (training only),
        metric_seconds, learning_rate, update_norm (root mean square over the epoch's updates of
        the norm of the step of the weights), and the metrics.
    chains : ndarray (n_chains, n_visible) or None
        Visible states after the last negative phase; None where the gradient was exact.
    info : dict
        key, simd, n_threads, seconds, versions, kernel, learning_rate (the last used), n_updates,
        n_rows, stopped ("n_epochs", "callback", "converged", "interrupted" or "diverged"); of
        `train_exact` also optimizer, method and reason.

    Examples
    --------
    >>> import fastrbm
    >>> data = fastrbm.datasets.bars_and_stripes(3)
    >>> fastrbm.train_cd(data, n_hidden=4, n_epochs=2, batch_size=7, rng=1)
    TrainingResult(RBM(Bernoulli(9), Bernoulli(4), dtype=float32), 2 epochs, 4 updates)
    """

    model: RBM
    history: dict
    chains: np.ndarray | None
    info: dict

    def __repr__(self):
        n_epochs, n_updates = len(self.history["epoch"]), self.info["n_updates"]
        layers = [
            f"{type(layer).__name__}({layer.n})"
            for layer in (self.model.visible, self.model.hidden)
        ]
        model = f"RBM({', '.join(layers)}, dtype={self.model.dtype})"
        return f"TrainingResult({model}, {n_epochs} epochs, {n_updates} updates)"


@dataclasses.dataclass(eq=False)
class TrainingState:
    """What a `callback` of a training function sees after each epoch.

    Attributes
    ----------
    epoch : int
        Counts from 1.
    model : RBM
        The live model; changes in place are what training goes on with.
    history : dict of ndarray
        As in `TrainingResult`, up to this epoch.

    Examples
    --------
    >>> import fastrbm
    >>> data = fastrbm.datasets.bars_and_stripes(3)
    >>> run = fastrbm.train_cd(data, n_hidden=4, callback=lambda state: state.epoch == 3, rng=1)
    >>> run.history["epoch"].tolist()
    [1.0, 2.0, 3.0]
    """

    epoch: int
    model: RBM
    history: dict
