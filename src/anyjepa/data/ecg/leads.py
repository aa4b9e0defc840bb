"""Names of leads, and the exact algebra between the six limb leads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from anyjepa.data.tables.cells import repeated

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Each limb lead as (a, b) of a*I + b*II: Einthoven's law and Goldberger's augmented leads.
LIMB = {"I": (1, 0), "II": (0, 1), "III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}

FRANK = ("Vx", "Vy", "Vz")  # Frank's orthogonal leads

_ALIASES = {lead.lower(): lead for lead in (*LEADS, *FRANK)} | {"mlii": "II", "di": "I", "dii": "II", "diii": "III"}
# A minus sign is not a separator: '-aVR' is another signal than 'aVR'.
_PREFIX = re.compile(r"^((mdc_)?(ecg|lead)[\s_:]*)+")


def canonical_lead(name: str) -> str:
    """The usual spelling of a lead: 'avf', 'ecg_aVF' and 'Lead AVF' give 'aVF'. Unknown names are kept ('-aVR').

    'MLII' (MIT-BIH: lead II with electrodes on the chest) counts as 'II', and so does 'II,' (BIDMC).
    """
    name = name.strip(" \t\r\n,;:'\"")
    lowered = name.lower()
    return _ALIASES.get(lowered) or _ALIASES.get(_PREFIX.sub("", lowered), name)


def canonical_leads(leads: Sequence[str]) -> tuple[str, ...]:
    """Convert names of leads to their usual spellings. Raises ValueError if a lead occurs twice, in any spelling."""
    names = tuple(map(canonical_lead, leads))
    if twice := repeated(names):
        raise ValueError(f"lead '{twice[0]}' occurs twice")
    return names


def limb_source(lead: str, available: Sequence[str]) -> tuple[str, str] | None:
    """The two limb leads that determine `lead` exactly, or None. I and II are preferred."""
    present = [name for name in LIMB if name in available and name != lead]
    return (present[0], present[1]) if lead in LIMB and len(present) >= 2 else None


def derive_limb(lead: str, first: str, second: str, signals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute `lead` from two other limb leads. signals: name -> array; all arrays have the same shape."""
    a, b = np.linalg.solve(np.array([LIMB[first], LIMB[second]], float).T, np.array(LIMB[lead], float))
    return (a * signals[first].astype(np.float64) + b * signals[second]).astype(np.float32)
