"""Block Gibbs sampling: the run, its start, its result, and the observers it carries along."""

from .gibbs import SampleResult, SampleState, sample
from .observers import Energies, Moments, MomentsResult

__all__ = ["Energies", "Moments", "MomentsResult", "SampleResult", "SampleState", "sample"]
