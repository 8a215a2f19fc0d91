"""Training: ONE loop (`loop.py`); what differs between methods is the negative phase.

`cd.py` has that of chains, `exact.py` that of exact moments.
"""

from .cd import train_cd
from .exact import train_exact
from .result import TrainingResult, TrainingState

__all__ = ["TrainingResult", "TrainingState", "train_cd", "train_exact"]
