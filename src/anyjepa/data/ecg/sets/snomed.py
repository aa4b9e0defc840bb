"""SNOMED CT codes of ECG diagnoses, as in the headers of the PhysioNet Challenges 2020 and 2021."""

from __future__ import annotations

from typing import NamedTuple


class Diagnosis(NamedTuple):
    """Abbreviation of a code in the Challenge, and its meaning."""

    abbreviation: str
    name: str


# The 30 classes that the Challenge 2021 scores (Reyna et al., Will Two Do?, 2021).
SCORED = {
    "164889003": Diagnosis("AF", "atrial fibrillation"),
    "164890007": Diagnosis("AFL", "atrial flutter"),
    "6374002": Diagnosis("BBB", "bundle branch block"),
    "426627000": Diagnosis("Brady", "bradycardia"),
    "733534002": Diagnosis("CLBBB", "complete left bundle branch block"),
    "713427006": Diagnosis("CRBBB", "complete right bundle branch block"),
    "270492004": Diagnosis("IAVB", "first-degree AV block"),
    "713426002": Diagnosis("IRBBB", "incomplete right bundle branch block"),
    "39732003": Diagnosis("LAD", "left axis deviation"),
    "445118002": Diagnosis("LAnFB", "left anterior fascicular block"),
    "164909002": Diagnosis("LBBB", "left bundle branch block"),
    "251146004": Diagnosis("LQRSV", "low QRS voltages"),
    "698252002": Diagnosis("NSIVCB", "nonspecific intraventricular conduction disorder"),
    "426783006": Diagnosis("NSR", "sinus rhythm"),
    "284470004": Diagnosis("PAC", "premature atrial contraction"),
    "10370003": Diagnosis("PR", "pacing rhythm"),
    "365413008": Diagnosis("PRWP", "poor R wave progression"),
    "427172004": Diagnosis("PVC", "premature ventricular contractions"),
    "164947007": Diagnosis("LPR", "prolonged PR interval"),
    "111975006": Diagnosis("LQT", "prolonged QT interval"),
    "164917005": Diagnosis("QAb", "Q wave abnormal"),
    "47665007": Diagnosis("RAD", "right axis deviation"),
    "59118001": Diagnosis("RBBB", "right bundle branch block"),
    "427393009": Diagnosis("SA", "sinus arrhythmia"),
    "426177001": Diagnosis("SB", "sinus bradycardia"),
    "427084000": Diagnosis("STach", "sinus tachycardia"),
    "63593006": Diagnosis("SVPB", "supraventricular premature beats"),
    "164934002": Diagnosis("TAb", "T wave abnormal"),
    "59931005": Diagnosis("TInv", "T wave inversion"),
    "17338001": Diagnosis("VPB", "ventricular premature beats"),
}

# Codes that the Challenge scores as one class, so that 26 are left: code -> the code that it counts as.
EQUIVALENT = {
    "733534002": "164909002",  # CLBBB, LBBB
    "713427006": "59118001",  # CRBBB, RBBB
    "63593006": "284470004",  # SVPB, PAC
    "17338001": "427172004",  # VPB, PVC
}

# Frequent codes that it does not score.
UNSCORED = {
    "164951009": Diagnosis("abQRS", "abnormal QRS"),
    "713422000": Diagnosis("ATach", "atrial tachycardia"),
    "67741000119109": Diagnosis("LAE", "left atrial enlargement"),
    "164873001": Diagnosis("LVH", "left ventricular hypertrophy"),
    "55827005": Diagnosis("LVHV", "left ventricular high voltage"),
    "164865005": Diagnosis("MI", "myocardial infarction"),
    "164861001": Diagnosis("MIs", "myocardial ischemia"),
    "428750005": Diagnosis("NSSTTA", "nonspecific ST-T abnormality"),
    "164867002": Diagnosis("OldMI", "old myocardial infarction"),
    "425856008": Diagnosis("PVT", "paroxysmal ventricular tachycardia"),
    "89792004": Diagnosis("RVH", "right ventricular hypertrophy"),
    "55930002": Diagnosis("STC", "ST changes"),
    "429622005": Diagnosis("STD", "ST depression"),
    "164931005": Diagnosis("STE", "ST elevation"),
    "164930006": Diagnosis("STIAb", "ST interval abnormal"),
    "426761007": Diagnosis("SVT", "supraventricular tachycardia"),
    "164884008": Diagnosis("VEB", "ventricular ectopics"),
}

DIAGNOSES = SCORED | UNSCORED
