"""Where a recipe's ECGs come from, and how they become what the encoder sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, PositiveFloat

from anyjepa.config import Config
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, Gaps, Highpass, Leads, MissingLeads, Positive
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Rate, Recording
from anyjepa.data.ecg.simulator import SimulatorConfig, patient_split, simulate
from anyjepa.errors import InputError


class Found(NamedTuple):
    """Recordings, and what was left out: file -> reason."""

    recordings: list[Recording]
    skipped: dict[str, str]


class EcgDataConfig(Config):
    """ECGs for pretraining: files if paths are given, else the embedded simulator."""

    kind: Literal["ecg"] = "ecg"
    simulator: SimulatorConfig = Field(default=SimulatorConfig(), description="the embedded data set")
    fs: Rate = Field(default=500.0, description="sampling rate that the encoder sees, Hz")
    leads: Leads = Field(default=LEADS, description="leads, in the encoder's order")
    duration_s: PositiveFloat = Field(default=10.0, le=3600, description="length of a training crop, s")
    clip: Positive = Field(default=5.0, description="standardised values are cut at +- this")
    gaps: Gaps = Field(default="interpolate", description="NaN gaps: linear interpolation, or an error")
    missing_leads: MissingLeads = Field(default="refuse", description="a lead that a record lacks: an error, or zero")
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
    absolute_time: bool = Field(
        default=False, description="a crop's positions are its place in the record, not 0, 1, 2 ... as published"
    )

    @property
    def channels(self) -> int:
        return len(self.leads)

    @property
    def size(self) -> tuple[int, ...]:
        """Samples of a full input."""
        return (round(self.fs * self.duration_s),)


def find_recordings(config: EcgDataConfig, paths: Sequence[Path], part: str | None = None) -> Found:
    """What `paths` hold; without paths the embedded set. part: of a set with a published split that part only."""
    if not paths:
        parts = patient_split(config.simulator)
        made = simulate(config.simulator)
        return Found([r for r in made if part is None or parts[r.patient or ""] == part], {})
    reading = read(list(paths), on_error=config.on_error, unit=config.unit)
    if part is None or config.part == "all":
        return Found(reading.recordings, reading.skipped)
    kept = [r for r in reading.recordings if r.split in (None, part)]
    others = {r.id: _published_elsewhere(r) for r in reading.recordings if r.split not in (None, part)}
    if not kept:
        raise InputError(f"no record is left to train on; the first: {next(iter(others.values()))}")
    return Found(kept, reading.skipped | others)


def _published_elsewhere(recording: Recording) -> str:
    return f"{recording.where}: is in the {recording.split} part of its source; data.part=all takes every part"


def training_set(config: EcgDataConfig, found: Found) -> EcgDataset:
    """Pretraining data, standardised by statistics of its own."""
    preprocessing = EcgPreprocessing.fit(
        found.recordings,
        fs=config.fs,
        leads=config.leads,
        duration_s=config.duration_s,
        clip=config.clip,
        gaps=config.gaps,
        missing_leads=config.missing_leads,
        highpass_hz=config.highpass_hz,
        on_error=config.on_error,
    ).model_copy(update={"absolute_time": config.absolute_time})
    dataset = EcgDataset.from_recordings(found.recordings, preprocessing, short=config.short, on_error=config.on_error)
    dataset.skipped.update(found.skipped)
    return dataset
