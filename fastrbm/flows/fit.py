"""Training by maximum likelihood: mini-batches with Adam, or all rows with L-BFGS."""

import contextlib
import itertools
import math
import time

import numpy as np

from .. import validation
from . import options as checked
from .adam import clip
from .bijection import context_rows, rows
from .normalization import BatchNorm, check_varies
from .run import NotFinite, Run

OPTIMIZERS = ("adam", "lbfgs")
#: The largest gradient component at which L-BFGS has converged, and the steps it remembers.
GRADIENT_TOLERANCE, MEMORY = 1e-8, 20
#: Rows that are looked at after an epoch, to see that its last update has not left all bounds.
PROBE_ROWS = 256


def fit(
    flow, X, *, context=None, n_epochs=100, batch_size=256, learning_rate=1e-3, optimizer="adam",
    schedule="cosine", max_norm=10.0, validation_data=None, validation_context=None, patience=None,
    callback=None, resume=None, rng=None, progress=False,
):  # fmt: skip
    """Train the flow in place by maximum likelihood.

    Minimises the mean of -log q(x) over the rows of X. First the layers that take numbers from
    data are set, if they are not yet: whitening (every constructor's flow has it) and ActNorm.

    Parameters
    ----------
    X : array_like (n, dim)
    context : array_like (n, context_dim), optional
        Required if and only if the flow has a context.
    n_epochs : int
        Passes through the rows; iterations at most with L-BFGS.
    batch_size : int
        At most so many rows an update; the rows of an epoch are divided evenly.
    learning_rate : float
        Of Adam, at the start.
    optimizer : {"adam", "lbfgs"}
        "lbfgs" uses all rows for every evaluation: for small data and smooth, small flows.
    schedule : {"cosine", "linear", "constant"} or callable
        What becomes of the rate: by default it decays to zero over the run. A callable maps the
        part of the run that is over, in [0, 1), to a factor.
    max_norm : float or None
        The gradient is scaled down to at most this Euclidean norm (Adam).
    validation_data, validation_context : array_like, optional
        Rows that are never trained on. The best weights are those with the lowest nll here, and
        without them those with the lowest nll of the epoch.
    patience : int, optional
        Stop after so many epochs without a better one.
    callback : callable, optional
        callback(state) after each epoch, see `FlowState`; True stops.
    resume : FlowResult, optional
        Of a former run of this flow, with the same other arguments: goes on after its last whole
        epoch, with the same bits as an uninterrupted run (L-BFGS: from the same weights).
    rng : None, int, SeedSequence, BitGenerator or Generator
        Shuffles the rows.
    progress : bool
        Show a bar (needs tqdm).

    Returns
    -------
    FlowResult
        history: epoch (from 1), nll (mean over the epoch, weights moving), validation_nll if asked,
        learning_rate, gradient_norm (mean over updates), seconds.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, constant columns, rows outside the support, before any training.
    Interrupted, DivergenceError
        On Ctrl-C, and where loss or gradient are not finite; `.result` holds the best so far.

    Notes
    -----
    An update costs about three evaluations of log_prob for its rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import flows
    >>> x = np.random.default_rng(0).normal(size=(1000, 2)) @ [[2.0, 0.0], [1.0, 0.1]]
    >>> f = flows.maf(dim=2, depth=2, width=8, rng=0)
    >>> result = f.fit(x, n_epochs=3, rng=1)
    >>> result.history["epoch"]
    array([1., 2., 3.])
    """
    n_epochs = validation.integer("n_epochs", n_epochs, 0)
    batch_size = validation.integer("batch_size", batch_size, 1)
    options = checked.check(
        OPTIMIZERS, rng, patience, learning_rate=learning_rate, optimizer=optimizer,
        schedule=schedule, max_norm=max_norm, callback=callback, resume=resume, progress=progress,
    )  # fmt: skip
    data = Rows.checked(flow, "X", X, "context", context)
    held_out = None
    if validation_data is not None:
        held_out = Rows.checked(
            flow, "validation_data", validation_data, "validation_context", validation_context
        )
    elif validation_context is not None:
        raise ValueError("validation_context must come with validation_data")
    check_varies(data.x)
    flow.check_finite()
    before = flow.snapshot()
    fitting = Fitting(flow, data, held_out, batch_size)
    try:
        if resume is not None:
            fitting.begin(options, n_epochs)  # the weights that rows are checked against
        first = flow._adapt if resume is None else flow._log_prob
        given = (("X", data, first), ("validation_data", held_out, flow._log_prob))
        for name, part, log_prob in given:
            if part is not None and np.isinf(log_prob(part.x, part.context)).any():
                raise ValueError(
                    f"{name} must be inside the support of the flow: some rows are not"
                )
    except BaseException:
        flow.restore(before)
        raise
    if resume is None:
        fitting.begin(options, n_epochs)
    return fitting.run.go(fitting.descend if optimizer == "adam" else fitting.search)


class Rows:
    """Rows with their context."""

    def __init__(self, x, context):
        self.x, self.context = x, context

    @classmethod
    def checked(cls, flow, name, x, context_name, context):
        """Rows from the arguments of a call, at least one."""
        x = validation.real_array(name, x)
        if x.ndim != 2 or x.shape[1] != flow.dim:
            raise ValueError(f"{name} must have shape (n, {flow.dim}), got {x.shape}")
        if not len(x):
            raise ValueError(f"{name} must not be empty, got {x.shape}")
        x, _ = rows(name, x, flow.dim, flow.dtype)
        return cls(x, context_rows(context, flow.context_dim, len(x), flow.dtype, context_name))

    def take(self, index):
        """The rows of an index array or a slice."""
        return Rows(self.x[index], None if self.context is None else self.context[index])

    def __len__(self):
        return len(self.x)


class Fitting:
    """The epochs of a run: a pass of mini-batches, or an iteration of L-BFGS."""

    def __init__(self, flow, data, held_out, batch_size):
        self.flow, self.data, self.held_out = flow, data, held_out
        self.n_batches = math.ceil(len(data) / batch_size)
        self.batch_norms = [m for m in flow.bijection.modules() if isinstance(m, BatchNorm)]
        self.run = None

    def begin(self, options, n_epochs):
        """Make the run, or take up a former one."""
        monitor = "nll" if self.held_out is None else "validation_nll"
        total = max(n_epochs * self.n_batches, 1)
        self.run = Run(self.flow, "epoch", total, n_epochs, monitor, options)

    @contextlib.contextmanager
    def batch_statistics(self):
        """Within, batch normalisation uses the statistics of the rows it sees."""
        for layer in self.batch_norms:
            layer.of_batch = True
        try:
            yield
        finally:
            for layer in self.batch_norms:
                layer.of_batch = False

    def loss(self, part):
        """nll and gradient of some rows, whole where they share statistics."""
        return self.flow._nll_and_grad(part.x, part.context, whole=bool(self.batch_norms))

    def descend(self):
        """Pass after pass through the rows, with Adam."""
        run = self.run
        while True:
            start, rate = time.perf_counter(), run.rate
            nll, norm = self.epoch(run.done)
            if not run.report(self.record(nll, norm, rate, start)):
                return

    def epoch(self, number):
        """One pass, in an order that follows from the key and the number."""
        generator = np.random.default_rng([self.run.key, number])
        shuffled = self.data.take(generator.permutation(len(self.data)))
        bounds = np.linspace(0, len(shuffled), self.n_batches + 1).astype(int)
        total = norms = 0.0
        with self.batch_statistics():
            for first, last in itertools.pairwise(bounds):
                nll, gradient = self.loss(shuffled.take(slice(first, last)))
                norms += self.run.update(nll, gradient)
                total += nll * (last - first)
        return total / len(shuffled), norms / self.n_batches

    def search(self):
        """Iterations of L-BFGS on all rows, an epoch each."""
        from scipy.optimize import minimize  # a tenth of a second that few callers need

        run, flow = self.run, self.flow
        start, norm, best = time.perf_counter(), 0.0, math.inf

        def evaluate(theta):
            nonlocal norm, best
            flow.fill(theta)
            with self.batch_statistics():
                nll, gradient = self.loss(self.data)
            norm = clip(gradient, None)
            if not (math.isfinite(nll) and math.isfinite(norm)):
                if best == math.inf:
                    raise NotFinite
                # A step too far, where rows are outside the support: the search goes back.
                return best + 10 * (1 + abs(best)), np.zeros(len(theta))
            best = min(best, nll)
            return nll, gradient.astype(np.float64)

        def accept(intermediate_result):
            nonlocal start
            run.theta = intermediate_result.x.astype(flow.dtype)
            flow.fill(run.theta)
            if not run.report(self.record(intermediate_result.fun, norm, 1.0, start)):
                raise StopIteration
            start = time.perf_counter()

        options = {
            "maxiter": run.stretches - run.done,
            "maxfun": 20 * run.stretches,
            "maxcor": MEMORY,
            "ftol": np.finfo(flow.dtype).eps,
            "gtol": GRADIENT_TOLERANCE,
        }
        theta = run.theta.astype(np.float64)
        found = minimize(
            evaluate, theta, jac=True, method="L-BFGS-B", callback=accept, options=options
        )
        if run.stopped == "finished" and run.done < run.stretches:
            run.stopped = "converged" if found.status == 0 else "stalled"

    def record(self, nll, norm, rate, start):
        """The entry of history, with the nll of held-out rows."""
        if self.batch_norms:
            # What mini-batches gave is of their own statistics, and no log-likelihood.
            nll = float(-self.flow._adapt(self.data.x, self.data.context).mean(dtype=float))
        probe = self.data.take(slice(0, PROBE_ROWS))
        if not np.isfinite(self.flow._log_prob(probe.x, probe.context)).all():
            raise NotFinite  # the epoch's nll is of the weights before its last update
        record = {"epoch": self.run.done + 1, "nll": nll}
        if self.held_out is not None:
            record["validation_nll"] = self.flow.nll(self.held_out.x, context=self.held_out.context)
        seconds = time.perf_counter() - start
        return record | {"learning_rate": rate, "gradient_norm": norm, "seconds": seconds}
