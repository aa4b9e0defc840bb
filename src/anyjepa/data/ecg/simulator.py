"""The former place of `anyjepa.data.ecg.simulated.simulator`, so that scripts which import it go on working."""

from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate

__all__ = ["SimulatorConfig", "simulate"]
