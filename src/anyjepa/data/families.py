"""Which published data sets contain each other's records, so that one record can occur under two names."""

from __future__ import annotations

import re

# Members of the collections, by the source names of the readers. Challenge 2021: Reyna et al. 2021, table 1;
# 2020: Perez Alday et al. 2020. They contain all of PTB-XL, including its test fold 10.
_CHALLENGE_2020 = frozenset({"cpsc", "cpsc-extra", "st-petersburg", "ptb", "ptb-xl", "georgia"})
_CHALLENGE_2021 = _CHALLENGE_2020 | {"chapman-shaoxing", "ningbo"}

# Patterns for names of sources (letters and digits only): PhysioNet's and other usual names. The first match counts.
_SOURCES: tuple[tuple[str, frozenset[str]], ...] = (
    (r"(challenge|cinc|physionet)(20)?21", _CHALLENGE_2021),
    (r"(challenge|cinc|physionet)(20)?20", _CHALLENGE_2020),
    (r"arrhythmiastudy|ecgarrhythmia", frozenset({"chapman-shaoxing", "ningbo"})),
    (r"ptbxl", frozenset({"ptb-xl"})),
    (r"ptb(db)?(\d|$)|ptbdiagnostic", frozenset({"ptb"})),
    (r"stpetersburg|incart", frozenset({"st-petersburg"})),
    (r"cpsc(2018)?(extra|2$)", frozenset({"cpsc-extra"})),
    (r"cpsc|icbeb", frozenset({"cpsc"})),
    (r"georgia|wfdbga$", frozenset({"georgia"})),
    (r"chapman|shaoxing", frozenset({"chapman-shaoxing"})),
    (r"ningbo", frozenset({"ningbo"})),
    (r"mimicivecg", frozenset({"mimic-iv-ecg"})),
    (r"code15", frozenset({"code-15"})),
)


def data_sets(source: str) -> frozenset[str]:
    """The published data sets whose records a source contains, according to its name; empty for an unknown name."""
    letters = re.sub(r"[^a-z0-9]", "", source.lower())
    return next((members for pattern, members in _SOURCES if re.search(pattern, letters)), frozenset())
