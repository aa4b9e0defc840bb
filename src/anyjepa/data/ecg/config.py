"""The `data:` section of a recipe for ECGs."""

from __future__ import annotations

from math import isclose
from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from anyjepa.config import Share
from anyjepa.data.ecg.preprocessing import EcgInputs
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig
from anyjepa.data.modality import DataConfig


class EcgDataConfig(EcgInputs, DataConfig):
    """ECGs for pretraining: from files, or from the embedded simulator if there are no paths."""

    kind: Literal["ecg"] = "ecg"
    simulator: SimulatorConfig = Field(
        default=SimulatorConfig(), description="the simulated data set, used without files"
    )
    simulated_share: Share = Field(
        default=0.0,
        description="share of the training crops that show new simulated patients instead of the files or arrays",
    )
    duration_s: PositiveFloat = Field(default=10.0, le=3600, description="length of a training crop, s")
    hide_leads: Share = Field(
        default=0.0, lt=1, description="probability of masking a lead of a training crop that exists"
    )
    part: Literal["train", "all"] = Field(
        default="train", description="for data with a published split (PTB-XL, MIT-BIH): its training part, or all"
    )
    short: Literal["skip", "raise"] = Field(default="skip", description="what to do with a record shorter than a crop")
    on_error: Literal["raise", "skip"] = Field(
        default="raise", description="what to do with a file that cannot be used"
    )
    unit: str | PositiveFloat | None = Field(
        default=None,
        description="mV, uV, V or mV per unit, which replaces the unit in the files; null: that of the files",
    )
    mixture: dict[str, PositiveFloat] | None = Field(
        default=None, description="share of the crops per store; keys are paths, or names in the data folder"
    )
    sampling: Literal["record", "time"] = Field(
        default="record", description="draw crops equally from every record, or in proportion to duration"
    )
    standardise: Literal["together", "each"] = Field(
        default="together", description="standardise with constants of all records, or of each store (ECG-JEPA)"
    )

    @model_validator(mode="after")
    def _hidden_leads_are_masked(self) -> Self:
        if self.hide_leads and self.missing_leads != "mask":
            raise ValueError("hide_leads needs missing_leads=mask, so that the encoder knows which leads are hidden")
        return self

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> Self:
        if self.mixture and not isclose(total := sum(self.mixture.values()), 1, abs_tol=1e-6):
            raise ValueError(f"mixture: the shares add up to {total:g}; they must add up to 1")
        return self

    @model_validator(mode="after")
    def _simulated_patients_are_of_no_store(self) -> Self:
        if self.simulated_share and (self.mixture or self.standardise == "each"):
            raise ValueError("simulated_share does not work with mixture or standardise=each")
        return self

    @property
    def size(self) -> tuple[int, ...]:
        """Samples of a full input."""
        return (round(self.fs * self.duration_s),)

    @property
    def absent(self) -> bool:
        return self.missing_leads == "mask"

    @property
    def weighted(self) -> str:
        return "data.mixture and data.sampling=time" if self.mixture or self.sampling == "time" else ""
