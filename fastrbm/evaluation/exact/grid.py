"""`Shards`: log Z in pieces that any number of processes may compute, in any order."""

import numpy as np

from ... import validation
from ..._lib import core
from .partition import begin, carried, limits, record, refuse, shard_plan
from .plan import Run
from .result import LogPartition


class Shards:
    """The state space of a model as shards, fixed by model and method.

    Parameters
    ----------
    rbm : RBM
        Copied.
    method : {"auto", "pairwise", "split"}
    dtype, beta
        As in `log_partition`.

    Attributes
    ----------
    n_shards : int
    method, reason : str
    n_states : int
    dtype : numpy.dtype
        Of a partial result: index, exponent, mantissa, lost. The sum over the shard is
        mantissa exp(exponent), of which underflow may have lost at most lost exp(exponent).

    Notes
    -----
    Partial results are plain records: save them, send them, and merge them all in one place, in
    any order, to the bits of one run.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> from fastrbm.evaluation import Shards
    >>> rbm = fastrbm.RBM(fastrbm.Spin(24), fastrbm.Gaussian(8), rng=1)
    >>> shards = Shards(rbm)
    >>> halves = np.array_split(np.arange(shards.n_shards), 2)
    >>> second, first = (shards.run(half) for half in reversed(halves))
    >>> z = shards.merge(np.concatenate([second, first]))
    >>> z.value == float(fastrbm.log_partition(rbm, method=shards.method))
    True
    """

    def __init__(self, rbm, *, method="auto", dtype="float64", beta=1.0):
        problem, run = begin(rbm, "auto", dtype, beta, None, None, None, None, False)
        validation.choice("method", method, ("auto", "pairwise", "split"))
        self._float32 = validation.model_dtype("dtype", dtype).itemsize == 4
        self._plan = shard_plan(problem, method, run, self._float32)
        self._beta = problem.beta
        self.method, self.reason = self._plan.name, self._plan.reason
        self.n_states, self.dtype = self._plan.n_states, core.PARTIAL
        self._engines = {}
        self.n_shards = self._engine(run.n_threads).n_shards

    def __repr__(self):
        return f"Shards({self.n_shards} shards, {self.method})"

    def _engine(self, n_threads):
        if n_threads not in self._engines:
            self._engines[n_threads] = self._plan.open(n_threads)
        return self._engines[n_threads]

    def seconds(self, n_shards=1, *, n_threads=None):
        """Return the seconds that so many shards would take, estimated.

        Parameters
        ----------
        n_shards : int, default 1
        n_threads : int, optional
        """
        run = Run(n_threads)
        return self._plan.seconds(run.n_threads) * n_shards / self.n_shards

    def run(self, indices=None, *, max_seconds=None, n_threads=None, callback=None, progress=False):
        """Compute some shards.

        Parameters
        ----------
        indices : array_like of int, optional
            Which, each at least 0 and below n_shards; None: all.
        max_seconds : float, optional
            Work estimated to last longer is refused.
        n_threads, callback, progress
            As in `log_partition`.

        Returns
        -------
        ndarray (len(indices),) of partial results

        Raises
        ------
        TooLarge
            If it would take longer than `max_seconds`.
        TypeError, ValueError
            For indices that are no shards.
        Interrupted
            On Ctrl-C; ``.result`` holds the partial results of the shards that were done, None if
            there are none.
        """
        indices = self._checked(indices)
        run = Run(n_threads, *limits(max_seconds), callback, progress)
        engine = self._engine(run.n_threads)
        seconds = self._plan.seconds(run.n_threads) * len(indices) / self.n_shards
        refuse(self._plan, seconds, 0.0, run)
        work = self._plan.run_shards
        return carried(run, self._plan, lambda: work(engine, run, indices))

    def merge(self, partials, *, max_seconds=None, n_threads=None):
        """Return the `LogPartition` of the partial results of all shards, in any order.

        Where underflow may have cost more than rounding does, the pairwise method runs those shards
        again in smaller blocks, which is why this may take a while.

        Raises
        ------
        ValueError
            Unless every shard is there exactly once.
        """
        partials = np.asarray(partials)
        if partials.dtype != core.PARTIAL or partials.ndim != 1:
            raise TypeError("partials must be partial results as `run` returns them")
        order = np.argsort(partials["index"], kind="stable")
        if not np.array_equal(partials["index"][order], np.arange(self.n_shards)):
            raise ValueError(
                f"partials must hold each of the {self.n_shards} shards once, got {len(partials)} "
                f"records of {len(np.unique(partials['index']))} shards"
            )
        run = Run(n_threads, *limits(max_seconds))
        engine = self._engine(run.n_threads)
        found = carried(run, self._plan, lambda: self._plan.close(engine, run, partials[order]))
        info = record(run, beta=self._beta, dtype="float32" if self._float32 else "float64")
        return LogPartition(found.value, self.method, self.reason, self.n_states, found.error,
                            info["seconds"], info)  # fmt: skip

    def _checked(self, indices):
        if indices is None:
            return np.arange(self.n_shards, dtype=np.uint64)
        indices = np.atleast_1d(np.asarray(indices))
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            if indices.size == 0:
                return np.zeros(0, np.uint64)
            raise TypeError(f"indices must be integers in one dimension, got {indices.dtype}")
        if len(indices) and not (indices.min() >= 0 and indices.max() < self.n_shards):
            raise ValueError(
                f"indices must be at least 0 and below n_shards = {self.n_shards}, got "
                f"{indices.min()} to {indices.max()}"
            )
        return indices.astype(np.uint64)
