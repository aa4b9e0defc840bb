from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from anyjepa.data.ecg.leads import LEADS, LIMB, canonical_lead, canonical_leads, derive_limb, limb_source


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("form", ["{}", " {} ", "ecg_{}", "Lead {}", "ECG Lead {}", "MDC_ECG_LEAD_{}"])
def test_every_spelling_of_a_lead_is_known(lead: str, form: str) -> None:
    for spelling in (lead, lead.lower(), lead.upper()):
        assert canonical_lead(form.format(spelling)) == lead


def test_mlii_counts_as_lead_ii() -> None:
    assert canonical_lead("MLII") == "II"


@pytest.mark.parametrize("name", ["-aVR", "Lead -aVR", "aVR-", "V7", "ECG1", "IV", "resp", ""])
def test_another_signal_never_becomes_a_lead(name: str) -> None:
    assert canonical_lead(name) not in LEADS


def test_any_two_limb_leads_give_the_other_four() -> None:
    i, ii = np.random.default_rng(0).normal(size=(2, 50))
    limb = {lead: a * i + b * ii for lead, (a, b) in LIMB.items()}
    for first, second in combinations(LIMB, 2):
        for lead in set(LIMB) - {first, second}:
            assert limb_source(lead, [first, second]) == (first, second)
            np.testing.assert_allclose(derive_limb(lead, first, second, limb), limb[lead], atol=1e-6)


def test_chest_leads_follow_from_nothing() -> None:
    assert limb_source("V1", LEADS) is None
    assert limb_source("aVF", ["I", "V1"]) is None


def test_a_lead_named_twice_is_refused_in_any_spelling() -> None:
    assert canonical_leads(["i", "V1"]) == ("I", "V1")
    with pytest.raises(ValueError, match="lead 'II' occurs twice"):
        canonical_leads(["II", "V1", "Lead ii"])
