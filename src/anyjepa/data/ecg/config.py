"""The `data:` section of a recipe on ECGs."""

from __future__ import annotations

from math import isclose
from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from anyjepa.config import Share
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import Gaps, Highpass, Leads, MissingLeads
from anyjepa.data.ecg.recording import Rate
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig
from anyjepa.data.modality import DataConfig


class EcgDataConfig(DataConfig):
    """ECGs for pretraining: files if paths are given, else the embedded simulator."""

    kind: Literal["ecg"] = "ecg"
    simulator: SimulatorConfig = Field(default=SimulatorConfig(), description="the embedded data set")
    fs: Rate = Field(default=500.0, description="sampling rate that the encoder sees, Hz")
    leads: Leads = Field(default=LEADS, description="leads, in the encoder's order")
    duration_s: PositiveFloat = Field(default=10.0, le=3600, description="length of a training crop, s")
    clip: PositiveFloat = Field(default=5.0, description="standardised values are cut at +- this")
    gaps: Gaps = Field(default="interpolate", description="NaN gaps: linear interpolation, or an error")
    missing_leads: MissingLeads = Field(
        default="refuse",
        description="a lead that a record lacks: an error, zero, or masked (the encoder is told; needs encoder.absent)",
    )
    hide_leads: Share = Field(
        default=0.0, lt=1, description="chance that a lead of a training crop is masked though it is there"
    )
    highpass_hz: Highpass | None = Field(
        default=None, description="baseline wander below this is taken out, Hz (CODE-15, St. Petersburg: 0.5)"
    )
    part: Literal["train", "all"] = Field(
        default="train", description="records in a published split (PTB-XL, MIT-BIH): its training part, or all"
    )
    short: Literal["skip", "raise"] = Field(default="skip", description="a record shorter than a crop")
    on_error: Literal["raise", "skip"] = Field(default="raise", description="a file that cannot be read or prepared")
    unit: str | PositiveFloat | None = Field(
        default=None, description="mV, uV, V or mV per unit, over what the files say; none: what they say"
    )
    mixture: dict[str, PositiveFloat] | None = Field(
        default=None, description="stores in the folder given as data, or paths: share of the crops drawn from each"
    )
    sampling: Literal["record", "time"] = Field(
        default="record", description="crops drawn alike from every record, or by duration"
    )
    standardise: Literal["together", "each"] = Field(
        default="together", description="constants of all records, or each store's own (ECG-JEPA)"
    )
    absolute_time: bool = Field(
        default=False, description="a crop's positions are its place in the record, not 0, 1, 2 ... as published"
    )

    @model_validator(mode="after")
    def _hidden_leads_are_masked(self) -> Self:
        if self.hide_leads and self.missing_leads != "mask":
            raise ValueError("hide_leads needs missing_leads=mask, so that the encoder is told")
        return self

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> Self:
        if self.mixture and not isclose(total := sum(self.mixture.values()), 1, abs_tol=1e-6):
            raise ValueError(f"mixture: the shares make {total:g}; they must make 1")
        return self

    @property
    def channels(self) -> int:
        return len(self.leads)

    @property
    def size(self) -> tuple[int, ...]:
        """Samples of a full input."""
        return (round(self.fs * self.duration_s),)

    @property
    def absolute(self) -> bool:
        return self.absolute_time

    @property
    def absent(self) -> bool:
        return self.missing_leads == "mask"

    @property
    def weighted(self) -> str:
        return "data.mixture and data.sampling=time" if self.mixture or self.sampling == "time" else ""
