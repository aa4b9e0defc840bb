from __future__ import annotations

import pytest

from anyjepa.data.families import data_sets


@pytest.mark.parametrize(
    ("source", "members"),
    [
        ("ptb-xl", {"ptb-xl"}),
        ("WFDB_PTBXL", {"ptb-xl"}),
        ("ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3", {"ptb-xl"}),
        ("ptb", {"ptb"}),
        ("ptbdb-1.0.0", {"ptb"}),
        ("WFDB_PTB", {"ptb"}),
        ("WFDB_CPSC2018", {"cpsc"}),
        ("WFDB_CPSC2018_2", {"cpsc-extra"}),
        ("cpsc-extra", {"cpsc-extra"}),
        ("cpsc_2018_extra", {"cpsc-extra"}),
        ("WFDB_Ga", {"georgia"}),
        ("WFDB_ChapmanShaoxing", {"chapman-shaoxing"}),
        ("chapman", {"chapman-shaoxing"}),
        ("WFDB_Ningbo", {"ningbo"}),
        ("incartdb", {"st-petersburg"}),
        ("st-petersburg", {"st-petersburg"}),
        ("ecg-arrhythmia-1.0.0", {"chapman-shaoxing", "ningbo"}),
        ("mimic-iv-ecg", {"mimic-iv-ecg"}),
        ("code-15", {"code-15"}),
        ("ludb", set()),
        ("simulator", set()),
        ("", set()),
    ],
)
def test_a_source_by_its_name(source, members):
    assert data_sets(source) == members


def test_the_challenges_contain_ptb_xl_and_others():
    assert data_sets("challenge-2021") >= data_sets("challenge-2020") >= {"ptb-xl", "ptb", "georgia", "cpsc"}
    assert data_sets("physionet2021.npz") - data_sets("cinc2020") == {"chapman-shaoxing", "ningbo"}
