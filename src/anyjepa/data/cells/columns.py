"""Which column of a table of cells says what: found by usual names, or named by the user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

Role = Literal["condition", "batch", "cell_type", "donor", "dose", "time", "guide_share"]
ROLES: tuple[Role, ...] = get_args(Role)
NONE = "none"  # said for a column that is not there, or not to be used

_USUAL: dict[Role, tuple[tuple[str, ...], ...]] = {  # letters and digits only; a later group where the first has none
    "condition": (
        (
            "perturbation",
            "perturbations",
            "condition",
            "guideidentity",
            "targetgene",
            "genetarget",
            "gene",
            "treatment",
        ),
    ),
    "batch": (("batch", "biorep", "replicate", "rep", "gemgroup", "gemgroups", "plate"),),
    "cell_type": (
        ("celltype", "celltypes", "cellline", "celllines"),
        ("louvain", "leiden", "cluster", "clusters", "seuratclusters"),
    ),
    "donor": (("donor", "donorid", "patient", "patientid", "individual", "subject", "ind"),),
    "dose": (("dose", "dosevalue", "dosage", "concentration"),),
    "time": (("time", "timepoint", "hours", "timehours"),),
    "guide_share": (("grnatopfrac", "guidetopfrac", "guideshare", "topguideshare"),),
}


def find_column(obs: DataFrame, role: Role, given: str | None, where: str) -> str | None:
    """The column of this role: `given`, else the one with a usual name; None if there is none or 'none' is given.

    InputError if a given column is not there, if no condition is found, or if several fit and differ.
    """
    columns = [str(column) for column in obs.columns]
    if given is not None:
        if given != NONE and given not in columns:
            raise InputError(f"{where}: column '{given}' ({role}) is not there{did_you_mean(given, columns)}")
        return None if given == NONE else given
    for names in _USUAL[role]:
        found = [column for column in columns if re.sub(r"[^a-z0-9]", "", column.lower()) in names]
        found = [c for place, c in enumerate(found) if not any(_same(obs, c, other) for other in found[:place])]
        if len(found) > 1:
            raise InputError(f"{where}: columns {' and '.join(found)} could each be the {role}; set {role}=COLUMN")
        if found:
            return found[0]
    if role == "condition":
        raise InputError(
            f"{where}: no column has a usual name of the condition, as 'perturbation'; set condition=COLUMN; "
            f"there are: {', '.join(columns[:40]) or 'none'}"
        )
    return None


def _same(obs: DataFrame, first: str, second: str) -> bool:
    return bool((obs[first].astype(str).to_numpy() == obs[second].astype(str).to_numpy()).all())
