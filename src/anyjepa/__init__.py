"""anyjepa: joint-embedding predictive pretraining."""

__version__ = "0.1.0"
