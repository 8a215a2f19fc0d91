"""How well a model fits data, and what it is exactly: likelihood, log Z, moments, draws."""

from .exact import Shards, exact_moments, exact_sample, kl_divergence, log_likelihood, log_partition
from .gap import free_energy_gap
from .pseudo import pseudo_likelihood
from .reconstruction import reconstruction_error

__all__ = [
    "Shards",
    "exact_moments",
    "exact_sample",
    "free_energy_gap",
    "kl_divergence",
    "log_likelihood",
    "log_partition",
    "pseudo_likelihood",
    "reconstruction_error",
]
