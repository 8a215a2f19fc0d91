"""Exact results: log Z with a bound, moments, independent draws, likelihood.

A method is a file with `plan(problem, ...)`; plan.py states the protocol and partition.py chooses.

pairwise.py     Gaussian units integrated, one multiply-add a state (core.Pairwise)
split.py        one discrete layer enumerated in two halves (core.Split)
statesum.py     sums over rows laid out in Python: quadrature.py and counts.py
elimination.py  sparse couplings
gaussian.py     two Gaussian layers
structure.py    units without couplings and parts that do not touch
shards.py       partial results and their merging; grid.py is what users hold of it
"""

from .grid import Shards
from .likelihood import kl_divergence, log_likelihood
from .moments import exact_moments
from .partition import METHODS, log_partition
from .plan import ExactState, NotApplicable
from .result import ExactMoments, LogPartition
from .sample import exact_sample

__all__ = [
    "METHODS",
    "ExactMoments",
    "ExactState",
    "LogPartition",
    "NotApplicable",
    "Shards",
    "exact_moments",
    "exact_sample",
    "kl_divergence",
    "log_likelihood",
    "log_partition",
]
