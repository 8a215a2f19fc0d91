"""Training: ONE loop (`loop.py`); what differs between methods is the negative phase (`cd.py`)."""

from .cd import train_cd
from .result import TrainingResult, TrainingState

__all__ = ["TrainingResult", "TrainingState", "train_cd"]
