"""Contrastive divergence and its persistent form: `train_cd`, and their negative phase.

G. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation
14 (2002); T. Tieleman, "Training restricted Boltzmann machines using approximations to the
likelihood gradient", ICML (2008).
"""

import contextlib
import dataclasses

import numpy as np

from .. import validation
from .._lib import core
from .loop import train
from .rate import default_rate
from .settings import Settings


@dataclasses.dataclass
class ContrastiveDivergence:
    """The negative phase of `train_cd`: k sweeps from the data (CD) or of lasting chains (PCD).

    Examples
    --------
    >>> from fastrbm.training.cd import ContrastiveDivergence
    >>> from fastrbm.training.settings import Settings
    >>> ContrastiveDivergence(n_chains=10).check(Settings())
    Traceback (most recent call last):
    ValueError: n_chains needs persistent=True: CD-k has one chain for each row of a mini-batch
    """

    k: int = 1
    persistent: bool = False
    n_chains: int | None = None
    chains: object = None
    statistics: str = "means"

    def check(self, settings):
        """Check what can be checked without the data."""
        self.k = validation.integer("k", self.k, 1)
        self.persistent = validation.flag("persistent", self.persistent)
        validation.choice("statistics", self.statistics, ("means", "samples"))
        if self.n_chains is not None:
            self.n_chains = validation.integer("n_chains", self.n_chains, 1)
        for name in ("n_chains", "chains"):
            if getattr(self, name) is not None and not self.persistent:
                raise ValueError(
                    f"{name} needs persistent=True: CD-k has one chain for each row of a mini-batch"
                )

    def default_rate(self, rbm, data, packed, batch_size, executor):
        """Return the learning rate where none is given."""
        return default_rate(rbm, packed, batch_size, executor)

    def start(self, start, data, packed, settings, key, executor):
        """Return a trainer whose persistent chains stand where they start."""
        rbm, chains = start.rbm, None
        n_chains = settings.batch_size if self.n_chains is None else self.n_chains
        if self.chains is not None:
            chains = validation.table("chains", self.chains, rbm.n_visible)
            if self.n_chains not in (None, len(chains)):
                raise ValueError(f"chains must have n_chains = {n_chains} rows, got {len(chains)}")
            n_chains = len(chains)
        trainer = core.Trainer(
            rbm._core,
            packed,
            self.k,
            self.persistent,
            self.statistics == "samples",
            settings.batch_size,
            n_chains,
            settings.momentum,
            settings.weight_decay,
            settings.max_norm or 0.0,
            start.frozen,
            executor.n_threads,
        )
        if chains is not None:
            try:
                trainer.load_chains(chains)
            except core.StateError as error:
                raise validation.state_error("chains", error, rbm.visible, chains) from None
        elif self.persistent:
            trainer.start_chains(key)
        return trainer

    def session(self):
        """Return what surrounds the epochs: nothing."""
        return contextlib.nullcontext()

    def info(self, trainer):
        """Return what goes into ``result.info``."""
        return {}

    def final_chains(self, trainer, rbm):
        """Return the visible states after the last negative phase."""
        out = np.empty((trainer.n_chains, rbm.n_visible), rbm.dtype)
        if out.size:
            trainer.store_chains(out)
        return out


def train_cd(
    data,
    *,
    n_hidden=Settings.n_hidden,
    hidden="auto",
    visible="auto",
    model=None,
    k=1,
    persistent=False,
    n_chains=None,
    chains=None,
    statistics="means",
    n_epochs=10,
    batch_size=100,
    learning_rate=None,
    momentum=0.5,
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
):
    """Train an RBM by contrastive divergence (CD-k), or its persistent form (PCD-k).

    The gradient is the mean of v E[h | v] over the rows of a mini-batch minus the mean of
    v_k E[h | v_k] over the chains, k sweeps on; velocity = momentum velocity + gradient -
    weight_decay W (weights only); parameter += learning_rate velocity. A short last batch is a
    mean over its own rows.

    Parameters
    ----------
    data : array_like (n_samples, n_visible)
        Bool, integer or float; not modified, and kept as one bit a unit where units are discrete.
    n_hidden : int, default 64
    hidden : {"auto", "bernoulli", "spin", "gaussian"} or Layer
        "auto" is "gaussian" for Spin data, "bernoulli" otherwise. A Gaussian layer built from a
        name keeps bias 0, since its bias only shifts the visible fields; pass a layer or a model
        to train it. Precisions never move.
    visible : {"auto", "bernoulli", "spin", "gaussian"} or Layer
        "auto": bool, or 0 and 1 with at least one 0, is Bernoulli; -1 and +1 with at least one -1
        is Spin. Values strictly between 0 and 1 are probabilities where "bernoulli" is named: used
        as they are in the data term, while the chain starts from a draw. A layer built from a name
        starts from the data, a Layer as given.
    model : RBM, optional
        Where training goes on from; not changed. `n_hidden`, `hidden` and `visible` agree with it
        or are left out.
    k : int, default 1
        Sweeps of the negative phase.
    persistent : bool, default False
        PCD: chains go on from update to update instead of starting at the data.
    n_chains : int, optional
        For persistent=True; by default `batch_size`.
    chains : array_like (n_chains, n_visible), optional
        For persistent=True: where the chains start, such as a former ``result.chains``; by default
        at data rows drawn by `rng`.
    statistics : {"means", "samples"}
        "samples" draws h once more for the model term instead of taking its mean.
    n_epochs : int, default 10
    batch_size : int, default 100
    learning_rate : float or callable(epoch), optional
        By default 0.5 min(hidden precision) / (largest eigenvalue of <v v^T>) for unbounded hidden
        units, because the update is multiplicative in W there; min(0.05, 2 min(visible precision)
        / n_hidden) where only the visible units are unbounded; otherwise 0.05 with 108
        updates an epoch or more, and in proportion more, up to 0.3, with fewer: small weights must
        grow exponentially before learning shows, and few updates at 0.05 end before it does.
        ``result.info["learning_rate"]`` says what was used.
    momentum : float in [0, 1), default 0.5
    weight_decay : float, default 1e-4
    max_norm : float, optional
        Rescales the whole gradient (all that moves, before decay and momentum) to at most this
        Euclidean norm.
    freeze : sequence of str
        Of "weights", "visible_bias", "hidden_bias": parameters that do not move.
    metrics : sequence of str, optional
        Of "reconstruction_error", "pseudo_likelihood" (one random unit a row),
        "exact_pseudo_likelihood", "free_energy_gap", "log_likelihood" (exact, so for small models
        only; with `validation_data` "validation_log_likelihood" comes beside it). By default the
        first two, the first alone for continuous visible units.
    metrics_rows : int, default 1000
        Training rows, drawn once, that metrics are measured on.
    validation_data : array_like (n_rows, n_visible), optional
        For the free-energy gap, mean F(validation_data) - mean F(as many training rows), and for
        the log-likelihood.
    callback : callable, optional
        Called with a `TrainingState` after each epoch; returning True stops.
    dtype : {float32, float64}, optional
        By default that of `model`, else float32.
    rng : None, int, SeedSequence, BitGenerator or Generator
        An int repeats, a Generator advances.
    n_threads : int, optional
        The result does not depend on it.
    progress : bool, default False
        Show a bar; needs tqdm.
    kernel : {"auto", "tables", "rows"}
        How products of binary states with weights are made: from tables of partial sums, by adding
        the selected rows of weights, or ("auto") by whichever is cheaper for what is multiplied.
        The result does not depend on it.

    Returns
    -------
    TrainingResult
        ``.model``, ``.history``, ``.chains``, ``.info``.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, before any work.
    DivergenceError
        When parameters stop being finite, or two continuous layers normalisable; ``.result`` is
        the last good state.
    Interrupted
        On Ctrl-C; ``.result`` is the state after the last whole update.

    Notes
    -----
    O(n_samples n_visible n_hidden (k + 2)) an epoch. Beyond the data: one packed copy and about
    six times the parameters.

    Examples
    --------
    >>> import fastrbm
    >>> data = fastrbm.datasets.bars_and_stripes(3)
    >>> result = fastrbm.train_cd(data, n_hidden=8, n_epochs=20, batch_size=7, rng=1)
    >>> result.model.visible.n, result.model.hidden.n, len(result.history["epoch"])
    (9, 8, 20)
    >>> longer = fastrbm.train_cd(data, model=result.model, n_epochs=5, persistent=True, rng=2)
    >>> longer.chains.shape
    (100, 9)
    """
    settings = Settings(
        n_hidden=n_hidden,
        hidden=hidden,
        visible=visible,
        model=model,
        n_epochs=n_epochs,
        batch_size=batch_size,
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
    phase = ContrastiveDivergence(k, persistent, n_chains, chains, statistics)
    return train(data, settings, phase)
