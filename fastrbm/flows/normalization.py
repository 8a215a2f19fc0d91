"""Layers that take their numbers from data: whitening, activation and batch normalisation.

All three are the identity until `Flow.fit` shows them data, in the direction from data to latent
space; `_adapt` is how it does so. Whitening and ActNorm take the first data they see and keep what
they took, or stay as they are once `Flow.fit_energy` has trained the flow around them. Batch
normalisation takes new statistics whenever it is shown the training set.
"""

import logging

import numpy as np

from .bijection import Bijection

log = logging.getLogger(__name__)

#: Data whose correlations have a smaller eigenvalue are standardised instead of whitened.
DEGENERATE = 1e-8
#: Added to the variance of a batch. S. Ioffe, C. Szegedy, ICML 2015.
EPSILON = 1e-5


class Whitening(Bijection):
    """x = mean + L z with L L^T the covariance of the data: `inverse` makes them uncorrelated.

    Set once by `Flow.fit`, never trained. Where columns are nearly linear functions of others, or
    where there are not more rows than columns, L is diagonal and holds standard deviations.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> from fastrbm.flows import Whitening
    >>> Whitening(2).forward([1.0, 2.0])
    (array([1., 2.]), np.float64(0.0))
    """

    def __init__(self, dim):
        super().__init__(dim)
        self.own_state = {"mean": np.zeros(dim), "factor": np.eye(dim), "set": np.zeros(1)}

    @property
    def config(self):
        """The dimension."""
        return {"dim": self.dim}

    def __repr__(self):
        return f"Whitening({self.dim})"

    def _adapt(self, x, context, inverse):
        if not self.own_state["set"][0]:
            mean, deviation = _moments(x)
            factor = np.diag(deviation)
            if len(x) > self.dim:
                scaled = (x - mean).astype(np.float64) / deviation
                correlations = scaled.T @ scaled / len(x)
                if np.linalg.eigvalsh(correlations)[0] > DEGENERATE:
                    factor = deviation[:, None] * np.linalg.cholesky(correlations)
                else:
                    log.info("whitening: columns are linearly dependent; standardised instead")
            if not inverse:  # data on the other side: y = mean + L x must be white
                factor = np.linalg.inv(factor)
                mean = -factor @ mean
            for name, value in (("mean", mean), ("factor", factor), ("set", 1)):
                self.own_state[name][...] = value
        return (self._inverse if inverse else self._forward)(x, context)[:2]

    def _log_det(self, x):
        return np.full(len(x), np.log(np.diagonal(self.own_state["factor"])).sum(), x.dtype)

    def _forward(self, x, context):
        return x @ self.own_state["factor"].T + self.own_state["mean"], self._log_det(x), None

    def _inverse(self, y, context):
        inverse = np.linalg.inv(self.own_state["factor"])
        return (y - self.own_state["mean"]) @ inverse.T, -self._log_det(y), inverse

    def _forward_vjp(self, tape, g, s):
        return g @ self.own_state["factor"], None, []

    def _inverse_vjp(self, tape, g, s):
        return g @ tape, None, []


class ActNorm(Bijection):
    """x = z exp(log_scale) + shift, set by the first data to make their columns standard.

    D. Kingma, P. Dhariwal, "Glow", NeurIPS 2018, section 3.1. Trained from there on.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> from fastrbm.flows import ActNorm
    >>> ActNorm(2).inverse([1.0, 2.0])
    (array([1., 2.]), np.float64(-0.0))
    """

    def __init__(self, dim):
        super().__init__(dim)
        self.own_parameters = {"log_scale": np.zeros(dim), "shift": np.zeros(dim)}
        self.own_state = {"set": np.zeros(1)}

    @property
    def config(self):
        """The dimension."""
        return {"dim": self.dim}

    def __repr__(self):
        return f"ActNorm({self.dim})"

    def _forward(self, x, context):
        log_scale, shift = self.own_parameters.values()
        scaled = x * np.exp(log_scale)
        return scaled + shift, np.full(len(x), log_scale.sum(), x.dtype), scaled

    def _inverse(self, y, context):
        log_scale, shift = self.own_parameters.values()
        scaled = y - shift
        return scaled * np.exp(-log_scale), np.full(len(y), -log_scale.sum(), y.dtype), scaled

    def _forward_vjp(self, scaled, g, s):
        scale = np.exp(self.own_parameters["log_scale"])
        return g * scale, None, [(g * scaled).sum(axis=0) + s.sum(), g.sum(axis=0)]

    def _inverse_vjp(self, scaled, g, s):
        w = g * np.exp(-self.own_parameters["log_scale"])
        return w, None, [-(w * scaled).sum(axis=0) - s.sum(), -w.sum(axis=0)]

    def _adapt(self, x, context, inverse):
        if not self.own_state["set"][0]:
            mean, deviation = _moments(x)
            log_scale, shift = self.own_parameters.values()
            if inverse:
                log_scale[:], shift[:] = np.log(deviation), mean
            else:
                log_scale[:], shift[:] = -np.log(deviation), -mean / deviation
            self.own_state["set"][:] = 1
        return (self._inverse if inverse else self._forward)(x, context)[:2]


class BatchNorm(Bijection):
    """`inverse` standardises by statistics, then scales and shifts; `forward` undoes both.

        z = (x - mean) / deviation exp(log_scale) + shift

    While `Flow.fit` computes gradients the statistics are those of the mini-batch and the gradient
    goes through them; at all other times they are those of the whole training set. L. Dinh et al.
    2017, section 3.7; Papamakarios et al. 2017, section 3.3 and appendix B.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> from fastrbm.flows import BatchNorm
    >>> BatchNorm(2).inverse([1.0, 2.0])
    (array([1., 2.]), np.float64(0.0))
    """

    #: True while `fit` computes a gradient.
    of_batch = False

    def __init__(self, dim):
        super().__init__(dim)
        self.own_parameters = {"log_scale": np.zeros(dim), "shift": np.zeros(dim)}
        self.own_state = {"mean": np.zeros(dim), "deviation": np.ones(dim)}

    @property
    def config(self):
        """The dimension."""
        return {"dim": self.dim}

    def __repr__(self):
        return f"BatchNorm({self.dim})"

    def _adapt(self, x, context, inverse):
        if not inverse:
            raise ValueError(
                "BatchNorm must not be within Invert where fit is called: it takes its statistics "
                "in its own inverse direction"
            )
        mean, deviation = self._statistics(x)
        self.own_state["mean"][:], self.own_state["deviation"][:] = mean, deviation
        return self._inverse(x, context)[:2]

    @staticmethod
    def _statistics(x):
        return x.mean(axis=0), np.sqrt(x.var(axis=0) + np.array(EPSILON, x.dtype))

    def _constants(self):
        return (*self.own_parameters.values(), *self.own_state.values())

    def _forward(self, z, context):
        log_scale, shift, mean, deviation = self._constants()
        standard = (z - shift) * np.exp(-log_scale)
        log_det = (np.log(deviation) - log_scale).sum()
        return standard * deviation + mean, np.full(len(z), log_det, z.dtype), standard

    def _inverse(self, x, context):
        log_scale, shift, mean, deviation = self._constants()
        of_batch = self.of_batch and len(x) > 1
        if of_batch:
            mean, deviation = self._statistics(x)
        standard = (x - mean) / deviation
        log_det = (log_scale - np.log(deviation)).sum()
        tape = (standard, deviation, of_batch)
        return standard * np.exp(log_scale) + shift, np.full(len(x), log_det, x.dtype), tape

    def _forward_vjp(self, standard, g, s):
        log_scale, _, _, deviation = self._constants()
        w = g * deviation
        shift = w * np.exp(-log_scale)
        return shift, None, [-(w * standard).sum(axis=0) - s.sum(), -shift.sum(axis=0)]

    def _inverse_vjp(self, tape, g, s):
        standard, deviation, of_batch = tape
        scaled = g * np.exp(self.own_parameters["log_scale"])
        grads = [(scaled * standard).sum(axis=0) + s.sum(), g.sum(axis=0)]
        if of_batch:
            n = len(g)
            along = (scaled * standard).sum(axis=0) + s.sum()
            scaled = scaled - scaled.mean(axis=0) - standard * (along / n)
        return scaled / deviation, None, grads


def _moments(x):
    """Means and standard deviations of columns, in double precision, none of them zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    bad = np.flatnonzero(~((deviation > 0) & np.isfinite(deviation)))
    if len(bad):
        raise ValueError(
            f"X must be scaled: the deviation of column {bad[0]} is {deviation[bad[0]]:g}"
        )
    return mean, deviation


def keep(bijection):
    """Let data no longer set what `bijection` holds: from here on it is trained as it is.

    Examples
    --------
    >>> from fastrbm.flows import Whitening
    >>> from fastrbm.flows.normalization import keep
    >>> layer = Whitening(2)
    >>> keep(layer)
    >>> layer.state["set"]
    array([1.])
    """
    for module in bijection.modules():
        if "set" in module.own_state:
            module.own_state["set"][:] = 1


def check_varies(x):
    """Raise a ValueError if a column of the data holds one number only.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.normalization import check_varies
    >>> check_varies(np.array([[1.0, 2.0], [1.0, 3.0]]))
    Traceback (most recent call last):
    ValueError: X must vary in every column: column 0 is 1 in every row; leave it out
    """
    if len(x) < 2:
        raise ValueError(f"X must vary in every column: two rows are needed, got {len(x)}")
    constant = np.flatnonzero((x == x[:1]).all(axis=0))
    if len(constant):
        first = int(constant[0])
        raise ValueError(
            f"X must vary in every column: column {first} is {x[0, first]:g} in every row; "
            "leave it out"
        )
