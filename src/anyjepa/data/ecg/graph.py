"""The preprocessing of ECGs inside an exported graph: leads, unit, rate, standardisation and clipping."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyjepa.data.ecg.leads import canonical_lead, derive_limb, limb_source
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, low_pass
from anyjepa.data.ecg.recording import check_rate, millivolts_per
from anyjepa.data.graph import GraphInput, Standardise
from anyjepa.errors import InputError


def graph(
    preprocessing: EcgPreprocessing,
    patch: int,
    longest: int,
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float = "mV",
) -> GraphInput:
    """Create the preprocessing module for ECGs (B, leads, samples) float32 without gaps.

    patch: samples of a token; longest: samples of an input at the model's rate. fs (Hz), leads and unit: of the ECGs,
    by default those of the model and mV. Raises InputError for a missing lead, and for a filter.
    """
    if preprocessing.highpass_hz is not None:
        raise InputError("export: the model filters ECGs forward and backward, which a graph cannot do")
    fs = preprocessing.fs if fs is None else check_rate(fs, "export")
    names = preprocessing.leads if leads is None else tuple(map(canonical_lead, leads))
    ratio = Fraction(preprocessing.fs / fs).limit_denominator(1000)
    prepare = PrepareEcg(preprocessing, names, millivolts_per(unit, "export"), ratio)
    bounds = ceil(2 * patch / ratio), int(longest / ratio)
    signal = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (2, len(names), bounds[1])).astype(np.float32))
    about = {"fs": fs, "leads": list(names), "unit": unit}
    example = signal / millivolts_per(unit, "export")
    return GraphInput(
        prepare, example, {2: ("samples", *bounds)}, "(batch, leads, samples) float32, without gaps", about
    )


class PrepareEcg(nn.Module):
    """Convert ECGs (B, leads, samples) in any lead order and unit to (B, L, T), like `EcgPreprocessing.prepare`."""

    mix: Tensor
    present: Tensor
    filter: Tensor

    def __init__(self, preprocessing: EcgPreprocessing, names: Sequence[str], millivolts: float, ratio: Fraction):
        super().__init__()
        rows = [_row(lead, names) for lead in preprocessing.leads]
        missing = [lead for lead, row in zip(preprocessing.leads, rows, strict=True) if row is None]
        if missing and (preprocessing.missing_leads == "refuse" or len(missing) == len(rows)):
            raise InputError(
                f"export: lead '{missing[0]}' is missing; the model needs {', '.join(preprocessing.leads)}"
            )
        mix = np.stack([np.zeros(len(names)) if row is None else row for row in rows]) * millivolts
        self.register_buffer("mix", torch.tensor(mix, dtype=torch.float32))
        self.register_buffer("present", torch.tensor([[row is not None] for row in rows]))
        self.absent = torch.nan if preprocessing.missing_leads == "mask" else 0.0
        constants = Standardise(preprocessing.mean, preprocessing.std, (-1, 1))
        self.standardise = StandardiseByRecord() if preprocessing.by_record else constants
        self.clip, self.up, self.down = preprocessing.clip, ratio.numerator, ratio.denominator
        self.register_buffer("filter", self._filter())

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix @ x
        if self.up != self.down:
            x = self.resample(x)
        x = torch.where(self.present, self.standardise(x), self.absent)
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def _filter(self) -> Tensor:
        if self.up == self.down:
            return torch.ones(1)  # not used
        return torch.tensor(self.up * low_pass(max(self.up, self.down)), dtype=torch.float32)

    def resample(self, x: Tensor) -> Tensor:
        """`preprocessing.resample` of (B, L, T): a polyphase filter, antireflected at the edges."""
        half = len(self.filter) // 2
        margin = -(-half // self.up)  # samples beyond each edge that the filter reaches
        offset = x.mean(-1, keepdim=True)
        x = x - offset
        before = 2 * x[..., :1] - x[..., 1 : margin + 1].flip(-1)
        after = 2 * x[..., -1:] - x[..., -margin - 1 : -1].flip(-1)
        samples = -(-x.shape[-1] * self.up // self.down)
        long = F.pad(torch.cat([before, x, after], -1)[..., None], (0, self.up - 1)).flatten(-2)
        long = long[..., margin * self.up - half :]
        out = F.conv1d(long.flatten(0, 1)[:, None], self.filter[None, None], stride=self.down)
        return out[..., :samples].unflatten(0, (x.shape[0], x.shape[1]))[:, :, 0] + offset


class StandardiseByRecord(nn.Module):
    """Scale each lead (..., T) to mean 0 and standard deviation 1; flat leads become zero."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        std = centred.square().mean(-1, keepdim=True).sqrt()
        flat = x.amax(-1, keepdim=True) == x.amin(-1, keepdim=True)
        return centred / std.masked_fill(flat, torch.inf)


def _row(lead: str, names: Sequence[str]) -> np.ndarray | None:
    """Weights (len(names),) with which the leads of a record give a lead; None if they do not determine it."""
    unit = dict(zip(names, np.eye(len(names)), strict=True))
    if lead in unit:
        return unit[lead]
    pair = limb_source(lead, names)
    return derive_limb(lead, *pair, unit) if pair else None
