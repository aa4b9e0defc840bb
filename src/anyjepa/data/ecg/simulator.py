"""The former place of `anyjepa.data.ecg.simulated.simulator`, kept so that older scripts can still import it."""

from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate

__all__ = ["SimulatorConfig", "simulate"]
