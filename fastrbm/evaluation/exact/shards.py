"""The state space as shards: run some, merge any grouping to the same bits.

A partial result is a record (index, exponent, mantissa, lost): the sum over the shard is
mantissa exp(exponent), and at most lost exp(exponent) of it was lost by underflow. The cut depends
on model and method alone. Merged are all records at once, in exact summation,

    log Z = M + log fsum(mantissa_i exp(exponent_i - M)),   M = max_i exponent_i,

so that neither their order nor who computed them shows in the bits.
"""

import math

import numpy as np

from ..._lib import core
from .plan import Plan, Sum
from .problem import U

#: Seconds of work between two looks at clock and callback.
STRIDE = 0.2
#: Relative rounding of the merged sum: exp, differences of exponents, log.
MERGING = 16 * U


def merge(partials):
    """Return log of the merged sum and a bound on what was lost, relative to the sum.

    Parameters
    ----------
    partials : ndarray of PARTIAL
        In any order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm._lib import core
    >>> from fastrbm.evaluation.exact.shards import merge
    >>> partials = np.zeros(2, core.PARTIAL)
    >>> partials["exponent"], partials["mantissa"] = [0.0, 700.0], [3.0, 1.0]
    >>> merge(partials)
    (700.0, 0.0)
    """
    used = partials[partials["exponent"] > -np.inf]
    if not len(used):
        return -math.inf, 0.0
    top = float(used["exponent"].max())
    scale = np.exp(used["exponent"] - top)
    total = math.fsum(used["mantissa"] * scale)
    lost = math.fsum(used["lost"] * scale)
    if total <= 0:
        return -math.inf, math.inf
    return top + math.log(total), lost / total


class ShardPlan(Plan):
    """A plan made of shards; a subclass opens an engine and closes the sum."""

    uses_blas = False

    def open(self, n_threads):
        """Return the engine: ``.n_shards`` and ``.run(exec, ..., indices, partials)``."""
        raise NotImplementedError

    def run_engine(self, engine, run, indices, partials):
        """Fill the partial results of these shards."""
        raise NotImplementedError

    def close(self, engine, run, partials):
        """Return the `Sum` of all partial results."""
        raise NotImplementedError

    def run_shards(self, engine, run, indices):
        """Run shards with progress; what was finished is kept in ``run.partials``."""
        partials = np.zeros(len(indices), core.PARTIAL)
        seconds = self.seconds(run.n_threads) / max(engine.n_shards, 1)
        stride = max(1, round(STRIDE / max(seconds, 1e-9))) if run.watched else len(indices)
        if math.isfinite(run.max_seconds):  # look at the clock now and then
            stride = min(stride, max(1, round(5.0 / max(seconds, 1e-9))))
        stride = max(stride, run.n_threads)
        for first in range(0, len(indices), stride):
            part = slice(first, first + stride)
            self.run_engine(engine, run, indices[part], partials[part])
            run.partials.append(partials[part])
            run.advance(seconds * len(indices[part]), self)
        return partials

    def log_partition(self, run):
        """Run all shards and merge them."""
        engine = self.open(run.n_threads)
        indices = np.arange(engine.n_shards, dtype=np.uint64)
        partials = self.run_shards(engine, run, indices)
        return self.close(engine, run, partials)


def rounded(value, error):
    """Return a `Sum` whose bound has the rounding of merging and of the value in it."""
    return Sum(value, error + MERGING + 4 * U * abs(value))
