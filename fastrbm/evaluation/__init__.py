"""How well a model fits data: pseudo-likelihood, reconstruction error, free-energy gap."""

from .gap import free_energy_gap
from .pseudo import pseudo_likelihood
from .reconstruction import reconstruction_error

__all__ = ["free_energy_gap", "pseudo_likelihood", "reconstruction_error"]
