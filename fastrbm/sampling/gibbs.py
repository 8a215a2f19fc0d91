"""`sample`: block Gibbs chains from C, with starts, clamps, thinning and continuation.

A sweep draws h given v, then v given h. The run is a schedule of sweeps in C with a stop at every
draw, where states are stored, observers updated and the callback asked.
"""

import contextlib
import dataclasses
import time

import numpy as np

from .. import _lib, random, validation
from .._lib import core
from ..blas import one_blas_thread
from ..errors import Interrupted
from ..model import check_model
from ..progress import progress_bar
from .observers import check_observers
from .run import provenance

#: Chains of a run that says neither how many nor where they start.
DEFAULT_CHAINS = 100


@dataclasses.dataclass(slots=True, eq=False)
class SampleResult:
    """What `sample` returns.

    Attributes
    ----------
    visible : ndarray (n_chains, n_draws, n_visible)
    hidden : ndarray (n_chains, n_draws, n_hidden)
        ``visible[c, t]`` was drawn given ``hidden[c, t]``: a joint draw.
    chains : ndarray (n_chains, n_visible)
        The last visible states: where ``sample(rbm, init=result)`` goes on.
    step : int
        Sweeps made since the first start.
    observations : tuple
        What each observer's ``result()`` gave, in the order of `observers`.
    info : dict
        key, simd, kernel, n_threads, seconds, versions, beta.

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(3), fastrbm.Gaussian(2), rng=1)
    >>> fastrbm.sample(rbm, n_chains=4, n_draws=2, burn_in=5, rng=1)
    SampleResult(4 chains x 2 draws, 3 visible and 2 hidden units, step 7)
    """

    visible: np.ndarray
    hidden: np.ndarray
    chains: np.ndarray
    step: int
    observations: tuple
    info: dict

    def __repr__(self):
        n_chains, n_draws, n_visible = self.visible.shape
        return (
            f"SampleResult({n_chains} chains x {n_draws} draws, {n_visible} visible and "
            f"{self.hidden.shape[2]} hidden units, step {self.step})"
        )


@dataclasses.dataclass(slots=True, eq=False)
class SampleState:
    """What a `callback` of `sample` sees after each observation.

    Attributes
    ----------
    n_done, n_total : int
        Observations made and planned.
    step : int
        Sweeps made since the first start.
    visible : ndarray (n_chains, n_visible)
    hidden : ndarray (n_chains, n_hidden)
        The present states; written over by the next.

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(3), fastrbm.Gaussian(2), rng=1)
    >>> run = fastrbm.sample(rbm, n_draws=10, burn_in=0, callback=lambda state: state.n_done == 3)
    >>> run.visible.shape
    (100, 3, 3)
    """

    n_done: int
    n_total: int
    step: int
    visible: np.ndarray
    hidden: np.ndarray


def sample(
    rbm,
    *,
    n_chains=None,
    n_draws=10,
    burn_in=100,
    thin=1,
    init=None,
    clamp=None,
    beta=1.0,
    dtype=None,
    observers=(),
    callback=None,
    progress=False,
    kernel="auto",
    rng=None,
    n_threads=None,
):
    """Draw joint states (v, h) from an RBM by block Gibbs sampling.

    A sweep is h given v, then v given h. Draw t = 0, 1, ... is the state after
    burn_in + (t + 1) thin sweeps, so burn_in=0, thin=k, n_draws=1 gives the state k sweeps after
    the start.

    Parameters
    ----------
    rbm : RBM
    n_chains : int, optional
        By default the rows of `init`, else 100.
    n_draws : int, default 10
        With 0 nothing is stored: the run is `burn_in` sweeps long, observers and callback see
        every `thin`-th of them, and ``.chains`` holds the end.
    burn_in : int, default 100
        Sweeps before the first draw's own `thin` sweeps.
    thin : int, default 1
        Sweeps from draw to draw.
    init : array_like (n_chains, n_visible) or (n_visible,), or SampleResult, optional
        Where the chains start; by default each visible unit is drawn from its own bias. A former
        result goes on from its ``.chains`` at its ``.step``, and `rng` left out keeps its key, so
        that 10 + 10 sweeps equal 20 bit for bit.
    clamp : array_like of bool, (n_visible,) or (n_chains, n_visible), optional
        Units that keep their value in `init`, which must then be given.
    beta : float, default 1.0
        Multiplies the whole energy; >= 0 for discrete pairs, > 0 otherwise.
    dtype : dtype, optional
        Of the states: the model's dtype, or int8, which applies where units are discrete.
    observers : sequence
        Statistics carried along (`Moments`, `Energies`, or your own: see
        ``fastrbm.sampling.observers``). BLAS is held to one thread while there are any.
    callback : callable, optional
        Called with a `SampleState` after each draw; returning True ends the run.
    progress : bool, default False
        Show a bar; needs tqdm.
    rng : None, int, SeedSequence, BitGenerator or Generator
        An int repeats, a Generator advances.
    n_threads : int, optional
        The result does not depend on it.
    kernel : {"auto", "tables", "rows"}
        How products of binary states with weights are made: from tables of partial sums, by adding
        the selected rows of weights, or ("auto") by whichever is cheaper for what is multiplied.
        The result does not depend on it.

    Returns
    -------
    SampleResult

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the draws made so far.

    Notes
    -----
    O(n_chains n_visible n_hidden) a sweep. Chain c draws its numbers by its own counter, so adding
    chains does not change the others.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Spin, Gaussian, sample
    >>> rbm = RBM(Spin(8), Gaussian(2), rng=1)
    >>> whole = sample(rbm, n_chains=3, burn_in=0, n_draws=20, rng=2)
    >>> whole.visible.shape, whole.hidden.shape
    ((3, 20, 8), (3, 20, 2))
    >>> half = sample(rbm, n_chains=3, burn_in=0, n_draws=10, rng=2)
    >>> rest = sample(rbm, init=half, burn_in=0, n_draws=10)
    >>> np.array_equal(rest.visible, whole.visible[:, 10:])
    True
    """
    continues = isinstance(init, SampleResult)
    key = init.info["key"] if continues and rng is None else random.key(rng)
    check_model("rbm", rbm)
    n_draws = validation.integer("n_draws", n_draws, 0)
    burn_in = validation.integer("burn_in", burn_in, 0)
    thin = validation.integer("thin", thin, 1)
    progress = validation.flag("progress", progress)
    beta = validation.beta(beta, rbm._both_discrete)
    dtypes = (rbm.dtype, rbm.dtype) if dtype is None else _dtypes(rbm, dtype)
    observers = check_observers(observers) if observers else ()
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")
    start, n_chains = _start(rbm, init.chains if continues else init, n_chains)
    clamp = None if clamp is None else _clamp(rbm, clamp, start, n_chains)
    rbm.check_normalisable()
    kernel = validation.choice("kernel", kernel, validation.KERNELS)
    executor = _lib.executor(n_threads, kernel)

    gibbs = core.Gibbs(rbm._core, n_chains, clamp)
    if start is not None:
        try:
            gibbs.load(start)
        except core.StateError as error:
            raise validation.state_error("init", error, rbm.visible, start) from None
    watched = bool(observers) or callback is not None or progress
    run = _Run(rbm, gibbs, executor, key, beta, init.step if continues else 0)
    run.plan(n_chains, n_draws, burn_in, thin, watched, dtypes)
    limit = one_blas_thread() if observers else contextlib.nullcontext()
    with limit, progress_bar(progress, run.n_total, "draw") as bar:
        return run.go(start is None, observers, callback, bar)


class _Run:
    """The schedule, the arrays and the position of one run."""

    __slots__ = (
        *("rbm", "gibbs", "executor", "key", "beta", "step", "began"),
        *("n_total", "n_done", "stored", "first", "thin", "rest", "visible", "hidden"),
    )

    def __init__(self, rbm, gibbs, executor, key, beta, step):
        self.began = time.perf_counter()
        self.rbm, self.gibbs, self.executor = rbm, gibbs, executor
        self.key, self.beta, self.step = key, beta, step

    def plan(self, n_chains, n_draws, burn_in, thin, watched, dtypes):
        """Lay out sweeps `first`, then `thin` each, n_total stops in all, then `rest`."""
        self.stored, self.thin, self.n_done = n_draws > 0, thin, 0
        if self.stored:
            self.first, self.n_total, self.rest = burn_in + thin, n_draws, 0
        else:
            self.first, self.n_total = thin, burn_in // thin if watched else 0
            self.rest = burn_in - self.n_total * thin
        # Without draws to store, one place is written over again and again.
        places = n_draws if self.stored else min(1, self.n_total)
        self.visible = np.empty((n_chains, places, self.rbm.n_visible), dtypes[0])
        self.hidden = np.empty((n_chains, places, self.rbm.n_hidden), dtypes[1])

    def go(self, from_biases, observers, callback, bar):
        """Make all sweeps and return the result; on Ctrl-C raise `Interrupted` with what is."""
        try:
            if from_biases:
                self.gibbs.start(self.executor, self.key, self.beta)
            for observer in observers:
                observer.start(self.rbm, len(self.visible), self.beta)
            self._go(observers, callback, bar)
        except KeyboardInterrupt:
            message = f"interrupted after {self.step} sweeps and {self.n_done} draws"
            raise Interrupted(message, self.result(observers)) from None
        return self.result(observers)

    def _go(self, observers, callback, bar):
        sweeps = self.first
        for t in range(self.n_total):
            self._sweep(sweeps)
            sweeps = self.thin
            place = t if self.stored else 0
            visible, hidden = self.visible[:, place], self.hidden[:, place]
            self.gibbs.store_visible(visible)
            self.gibbs.store_hidden(hidden)
            self.n_done = t + 1
            for observer in observers:
                observer.update(visible, hidden)
            bar.update()
            if callback is not None and callback(
                SampleState(self.n_done, self.n_total, self.step, visible, hidden)
            ):
                return
        if self.rest:
            self._sweep(self.rest)

    def _sweep(self, n_sweeps):
        try:
            self.gibbs.run(self.executor, n_sweeps, self.beta, self.key, self.step)
        finally:
            self.step += self.gibbs.done  # whole sweeps, also where Ctrl-C ended the run

    def result(self, observers):
        """Return the draws made so far."""
        n_draws = self.n_done if self.stored else 0
        chains = np.empty((len(self.visible), self.visible.shape[2]), self.visible.dtype)
        self.gibbs.store_visible(chains)
        return SampleResult(
            self.visible[:, :n_draws],
            self.hidden[:, :n_draws],
            chains,
            self.step,
            tuple(observer.result() for observer in observers),
            provenance(
                self.executor,
                self.key,
                time.perf_counter() - self.began,
                beta=self.beta,
            ),
        )


def _dtypes(rbm, dtype):
    """Return the dtypes of visible and hidden states; int8 applies where units are discrete."""
    some = rbm.visible.discrete or rbm.hidden.discrete
    wanted = validation.state_dtype(dtype, some, rbm.dtype)
    return tuple(wanted if layer.discrete else rbm.dtype for layer in (rbm.visible, rbm.hidden))


def _start(rbm, init, n_chains):
    """Return the rows to start from, or None, and the number of chains."""
    if n_chains is not None:
        n_chains = validation.integer("n_chains", n_chains, 1)
    if init is None:
        return None, DEFAULT_CHAINS if n_chains is None else n_chains
    start, single = validation.rows("init", init, rbm.n_visible)
    if single and n_chains is not None:
        start = np.broadcast_to(start, (n_chains, rbm.n_visible))
    if len(start) == 0 or n_chains not in (None, len(start)):
        raise ValueError(f"init must have n_chains = {n_chains} rows, got {len(start)}")
    return start, len(start)


def _clamp(rbm, clamp, start, n_chains):
    """Return the mask of clamped units as contiguous bools."""
    mask = np.asarray(clamp)
    if mask.dtype != np.bool_:
        raise TypeError(f"clamp must be a mask of bools, got dtype {mask.dtype}")
    if mask.shape not in ((rbm.n_visible,), (n_chains, rbm.n_visible)):
        raise ValueError(
            f"clamp must have shape ({rbm.n_visible},) or ({n_chains}, {rbm.n_visible}), "
            f"got {mask.shape}"
        )
    if start is None:
        raise ValueError("clamp needs init: clamped units keep the value they have there")
    return np.ascontiguousarray(mask)
