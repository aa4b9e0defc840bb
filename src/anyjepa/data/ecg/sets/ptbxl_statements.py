"""The 71 SCP-ECG statements of PTB-XL (its `scp_statements.csv`, version 1.0.3), and the tasks that they define.

A statement counts whatever its likelihood, as in the published benchmark (Strodthoff et al. 2020): rhythm and form
statements have likelihood 0 throughout.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["diagnostic", "form", "rhythm"]


class Statement(NamedTuple):
    """The lists that contain a statement and, if it is diagnostic, its class and subclass."""

    levels: tuple[Level, ...]
    diagnosis: str = ""
    subdiagnosis: str = ""


# Class and subclass, then their statements.
_DIAGNOSTIC = """
NORM NORM: NORM
MI AMI: AMI ASMI ALMI INJAS INJAL INJLA
MI IMI: IMI ILMI IPMI IPLMI INJIN INJIL
MI LMI: LMI
MI PMI: PMI
STTC STTC: NDT DIG LNGQT ANEUR EL
STTC NST_: NST_
STTC ISC_: ISC_
STTC ISCA: ISCAL ISCAS ISCLA ISCAN
STTC ISCI: ISCIN ISCIL
CD LAFB/LPFB: LAFB LPFB
CD IRBBB: IRBBB
CD CRBBB: CRBBB
CD ILBBB: ILBBB
CD CLBBB: CLBBB
CD _AVB: 1AVB 2AVB 3AVB
CD IVCD: IVCD
CD WPW: WPW
HYP LVH: LVH
HYP RVH: RVH
HYP LAO/LAE: LAO/LAE
HYP RAO/RAE: RAO/RAE
HYP SEHYP: SEHYP
"""
_FORM_TOO = ("NDT", "NST_", "DIG", "LNGQT")
_FORM = "ABQRS PVC STD_ VCLVH QWAVE LOWT NT_ PAC LPR INVT LVOLT HVOLT TAB_ STE_ PRC(S)"
_RHYTHM = "SR AFIB STACH SARRH SBRAD PACE SVARR BIGU AFLT SVTAC PSVT TRIGU"


def _statements() -> dict[str, Statement]:
    statements = {}
    for line in _DIAGNOSTIC.split("\n")[1:-1]:
        classes, codes = line.split(": ")
        for code in codes.split():
            levels: tuple[Level, ...] = ("diagnostic", "form") if code in _FORM_TOO else ("diagnostic",)
            statements[code] = Statement(levels, *classes.split())
    statements |= {code: Statement(("form",)) for code in _FORM.split()}
    return statements | {code: Statement(("rhythm",)) for code in _RHYTHM.split()}


STATEMENTS = _statements()


def classes_of(task: str) -> dict[str, tuple[str, ...]]:
    """The statements that make each class of a level: all, diagnostic, subdiagnostic, superdiagnostic, form, rhythm."""
    classes: dict[str, tuple[str, ...]] = {}
    for code, statement in STATEMENTS.items():
        if task == "all" or task in statement.levels:
            name = code
        elif task == "superdiagnostic":
            name = statement.diagnosis
        elif task == "subdiagnostic":
            name = statement.subdiagnosis
        else:
            name = ""
        if name:
            classes[name] = (*classes.get(name, ()), code)
    return classes
