"""Training by reverse KL divergence: towards a density of which value and gradient can be computed.

    KL(q || p) = E_z [log q(f(z)) - log p(f(z))],   log q(f(z)) = log base(z) - log|det df/dz|

up to log Z of p. The draws z do not depend on the parameters, so that its gradient is the mean of
the gradient (pathwise). Rezende & Mohamed 2015, eqs. 15 and 20; the objective is theirs with an
unnormalised target, and `anneal` their beta_t.
"""

import time

import numpy as np

from .. import validation
from . import options as checked
from .module import flatten
from .normalization import keep
from .run import NotFinite, Run
from .team import on_threads

OPTIMIZERS = ("adam",)
#: Steps between two entries of history.
STRETCH = 100


def fit_energy(
    flow, log_density, *, n_steps=5000, batch_size=512, learning_rate=1e-3, anneal=None,
    optimizer="adam", schedule="cosine", max_norm=10.0, context=None, callback=None, resume=None,
    rng=None, progress=False,
):  # fmt: skip
    """Train the flow in place towards an unnormalised density, by reverse KL divergence.

    Where the target has modes that the flow does not reach at the start, reverse KL never learns of
    them; annealing from a flat density helps.

    Parameters
    ----------
    log_density : callable
        x (n, dim) -> values (n,), gradients (n, dim): log of the density up to a constant.
    n_steps : int
        Updates, each with `batch_size` fresh draws.
    batch_size : int
    learning_rate : float
        Of Adam, at the start.
    anneal : callable, optional
        anneal(step), step from 0, multiplies log_density; 1 by default.
    optimizer : {"adam"}
    schedule : {"cosine", "linear", "constant"} or callable
        As in `fit`.
    max_norm : float or None
        As in `fit`.
    context : array_like (context_dim,), optional
        One for all draws; required if and only if the flow has a context.
    callback : callable, optional
        callback(state) after each 100 steps, see `FlowState`; True stops.
    resume : FlowResult, optional
        As in `fit`.
    rng : None, int, SeedSequence, BitGenerator or Generator
        Draws the latent points.
    progress : bool

    Returns
    -------
    FlowResult
        history, an entry for each 100 steps: step, objective (mean of log q - log_density, which is
        the divergence minus log Z, without annealing), ess (effective part of the draws as
        importance samples, between 0 and 1), learning_rate, gradient_norm, seconds. The best
        weights are those with the lowest objective.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, and if log_density returns other shapes.
    Interrupted, DivergenceError
        As in `fit`; non-finite log-densities count as divergence.

    Examples
    --------
    >>> from fastrbm import flows
    >>> f = flows.planar(dim=2, depth=4, rng=0)
    >>> wide = lambda x: (-0.125 * (x**2).sum(axis=1), -0.25 * x)
    >>> f.fit_energy(wide, n_steps=200, batch_size=64, rng=1).history["step"]
    array([100., 200.])
    """
    n_steps = validation.integer("n_steps", n_steps, 0)
    batch_size = validation.integer("batch_size", batch_size, 1)
    for name, value, needed in (("log_density", log_density, True), ("anneal", anneal, False)):
        if not callable(value) and (needed or value is not None):
            raise TypeError(f"{name} must be callable, got {value!r}")
    options = checked.check(
        OPTIMIZERS, rng, learning_rate=learning_rate, optimizer=optimizer,
        schedule=schedule, max_norm=max_norm, callback=callback, resume=resume, progress=progress,
    )  # fmt: skip
    context = flow.one_context(context, batch_size)
    flow.check_finite()
    descent = Descent(flow, log_density, anneal, context, batch_size, n_steps)
    descent.run = Run(flow, "step", max(n_steps, 1), -(-n_steps // STRETCH), "objective", options)
    try:
        return descent.run.go(descent.descend)
    finally:
        if descent.run.done:  # a later `fit` must not put other layers under trained ones
            keep(flow.bijection)


class Descent:
    """The stretches of a run towards a density."""

    def __init__(self, flow, log_density, anneal, context, batch_size, n_steps):
        self.flow, self.log_density, self.anneal, self.context = flow, log_density, anneal, context
        self.batch_size, self.n_steps = batch_size, n_steps
        self.run = None

    def descend(self):
        """Stretch after stretch."""
        run = self.run
        while True:
            start, rate = time.perf_counter(), run.rate
            first = run.done * STRETCH
            last = min(first + STRETCH, self.n_steps)
            generator = np.random.default_rng([run.key, run.done])
            norms, log_weights = 0.0, []
            for step in range(first, last):
                beta = 1.0 if self.anneal is None else self.beta(step)
                objective, gradient, log_weight = self.step(generator, beta)
                norms += run.update(objective, gradient)
                log_weights.append(log_weight)
            if not self.is_sane(generator):
                raise NotFinite  # the objective is of the weights before the last update
            record = self.record(np.concatenate(log_weights))
            record |= {"learning_rate": rate, "gradient_norm": norms / (last - first)}
            if not run.report({"step": last, **record, "seconds": time.perf_counter() - start}):
                return

    def beta(self, step):
        """What the log-density is multiplied by."""
        return validation.number(f"anneal({step})", self.anneal(step), minimum=0)

    def step(self, generator, beta):
        """Objective, gradient and the logarithms of the importance weights p / q."""
        flow, n, size = self.flow, self.batch_size, self.flow.gradient_rows(self.batch_size)
        z = flow.base_sample(n, generator)

        def forward(block):
            context = None if self.context is None else self.context[block]
            return flow.bijection._forward(z[block], context)

        xs, log_dets, tapes = zip(*on_threads(forward, n, size), strict=True)
        log_q = flow.base_log_prob(z) - np.concatenate(log_dets)
        values, gradients = self.target(np.concatenate(xs))
        objective = float(np.mean(log_q - beta * values, dtype=np.float64))
        g = gradients * flow.dtype.type(-beta / n)
        s = np.full(n, -1 / n, flow.dtype)

        def back(block):
            tape = tapes[block.start // size]
            return flatten(flow.bijection._forward_vjp(tape, g[block], s[block])[2], flow.dtype)

        first, *others = on_threads(back, n, size)
        return objective, sum(others, start=first), values - log_q

    def is_sane(self, generator):
        """Whether draws and their densities are finite."""
        z = self.flow.base_sample(self.batch_size, generator)
        x, log_det, _ = self.flow.bijection._forward(z, self.context)
        return np.isfinite(x).all() and np.isfinite(log_det).all()

    def target(self, x):
        """Values and gradients of the log-density, of the right shapes and finite."""
        answer = self.log_density(x)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TypeError("log_density must return a pair: values (n,) and gradients (n, dim)")
        values, gradients = (
            np.asarray(validation.real_array("log_density", part), x.dtype) for part in answer
        )
        if values.shape != x.shape[:1] or gradients.shape != x.shape:
            raise ValueError(
                f"log_density must return shapes {x.shape[:1]} and {x.shape}, got {values.shape} "
                f"and {gradients.shape}"
            )
        if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
            raise NotFinite
        return values, gradients

    @staticmethod
    def record(log_weights):
        """Objective and effective sample size of a stretch."""
        weights = np.exp(log_weights - log_weights.max(), dtype=np.float64)
        ess = float(weights.sum() ** 2 / (weights**2).sum() / len(weights))
        return {"objective": float(-np.mean(log_weights, dtype=np.float64)), "ess": ess}
