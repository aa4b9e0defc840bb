"""Read columns of a table of cells: find the role of each column, and the condition of each cell."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from anyjepa.data.cells.conditions import CONTROL, Condition, is_control, parse, split
from anyjepa.data.cells.controls import check_controls, look_alikes, option, resolve
from anyjepa.data.cells.naming import NONE, Naming, ask_for_separator, warn_of_halves
from anyjepa.data.cells.opening import letters
from anyjepa.data.cells.screen import Labels
from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

Role = Literal["condition", "batch", "cell_type", "donor", "dose", "time", "guide_share"]
ROLES: tuple[Role, ...] = get_args(Role)

_USUAL: dict[
    Role, tuple[tuple[str, ...], ...]
] = {  # letters and digits only; later groups are used if the first has no match
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
        ("cell",),
        ("louvain", "leiden", "cluster", "clusters", "seuratclusters"),
    ),
    "donor": (("donor", "donorid", "patient", "patientid", "individual", "subject", "ind"),),
    "dose": (("dose", "dosevalue", "dosage", "concentration"),),
    "time": (("time", "timepoint", "hours", "timehours"),),
    "guide_share": (("grnatopfrac", "guidetopfrac", "guideshare", "topguideshare"),),
}
_AMOUNT = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)[\s_]*([a-zA-Zµμ%][\w/%.µμ]{0,9})")  # with a unit
_LONGEST_NAME = 1000  # of a condition; time grows with the square of its length
_MISSING = {"", "nan", "NaN", "None", "none", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaT"}
_UNASSIGNED = re.compile(
    r"[\W_]+|un(assigned|determined|known|called|mapped)|ambiguous|multi(ple|plets?)|doublets?", re.IGNORECASE
)
"""Names that tools for guide assignment give to cells whose perturbation is unknown."""


def find_columns(
    obs: DataFrame, names: Mapping[Role, str | None], where: str
) -> tuple[dict[Role, str | None], list[str]]:
    """Find the column for each role; also returns a question for each role that is unclear.

    A column is the one in `names`, else one with a usual name; None without one, or if the name is 'none'. Without a
    usual name, the condition is the only column of texts with a usual name of controls and other names. Raises
    InputError if the table has no column of that name.
    """
    columns: dict[Role, str | None] = {}
    questions = []
    for role in ROLES:
        fitting = _fitting(obs, role, names[role], where)
        columns[role] = fitting[0] if len(fitting) == 1 else None
        if len(fitting) > 1:
            options = " or ".join(option(role, [column]) for column in fitting)
            questions.append(f"columns {' and '.join(fitting)} could each be the {role}; pass {options}")
        elif role == "condition" and not fitting and names[role] != NONE:
            there = ", ".join(map(str, obs.columns[:40])) or "none"
            questions.append(
                "no column has a usual name for the condition, such as 'perturbation'; pass --set condition=COLUMN; "
                f"the columns are: {there}"
            )
    return columns, questions


def _fitting(obs: DataFrame, role: Role, name: str | None, where: str) -> list[str]:
    """Columns that may have a role; only the first of several equal ones."""
    columns = [str(column) for column in obs.columns]
    if name is not None:
        if name not in (NONE, *columns):
            raise InputError(f"{where}: there is no column '{name}' ({role}){did_you_mean(name, columns)}")
        return [] if name == NONE else [name]
    groups = [[c for c in columns if letters(c) in names] for names in _USUAL[role]]
    groups = [[c for c in group if c.lower() != "cell" or 2 * len(set(obs[c])) < len(obs)] for group in groups]  # ids
    if role == "condition" and not any(groups):
        groups = [[column for column in columns if _has_control(obs, column)]]
    fitting = next(filter(None, groups), [])
    if role == "condition":
        return [c for place, c in enumerate(fitting) if not any(_same(obs, c, other) for other in fitting[:place])]
    codes = {c: obs[c].astype(str).factorize()[0] for c in fitting}  # equal if two columns divide the cells equally
    fitting = [c for c in fitting if codes[c].any()] or fitting[:1]  # a single value does not distinguish cells
    return [c for n, c in enumerate(fitting) if not any((codes[c] == codes[other]).all() for other in fitting[:n])]


def _has_control(obs: DataFrame, column: str) -> bool:
    """Whether a column of texts has a usual name of controls, and other names."""
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(obs[column]):
        return False
    names = _texts(obs, column, unassigned=_UNASSIGNED)[0]
    controls = sum(map(is_control, names))
    return 0 < controls < len(names)


def assign(
    obs: DataFrame,
    columns: Mapping[Role, str | None],
    genes: Collection[str],
    config: Naming,
    where: str,
) -> tuple[tuple[Condition, ...], np.ndarray, list[str]]:
    """Return all conditions, (N,) the index of each cell's condition, and the names of controls in the file.

    The control comes first; others are sorted by size and name. The index is -1 for cells without a condition.

    'A_B' is a pair if both are genes or occur alone in the column; a DataWarning is issued if only one is.
    'unassigned', 'doublet', '*' and the like are not conditions. Without a condition column, all cells are controls.

    Raises InputError if there is no control or more than one candidate, if names look like pairs but are not read as
    pairs, for empty names, and for doses or times that are not numbers.
    """
    column = columns["condition"]
    if column is None:
        return (CONTROL,), np.zeros(len(obs), np.int64), []
    place = f"{where}: column '{column}'"
    named = {str(name).strip() for name in config.control or ()}
    names, codes = _texts(obs, column, named, _UNASSIGNED)
    if long := next((name for name in names if len(name) > _LONGEST_NAME), None):
        raise InputError(
            f"{place}: a name has {len(long):,} characters ('{long[:40]}'); at most {_LONGEST_NAME:,} are read"
        )
    sizes = dict(zip(names, np.bincount(codes[codes >= 0], minlength=len(names)).tolist(), strict=True))
    mark = config.separator or "_"
    pieces = {piece.strip() for name in names for piece in (name, *re.split(rf"\+|{re.escape(mark)}", name))}
    if config.control is None:
        controls = {name for name in names if parse(name, whole_names=genes).is_control}
    else:
        controls = resolve(config.control, pieces, place)
    alone = {name for name in names if "+" not in name and mark not in name and not is_control(name)}
    whole_names = {*genes, *alone} - controls
    if config.separator is None:
        ask_for_separator(sizes, whole_names, {*names, *whole_names}, controls, place)
    similar = look_alikes(names, whole_names, controls, config.separator)
    check_controls(controls, similar, sizes, config.control is not None, config.other_controls, place)
    whole_names |= similar
    warn_of_halves(names, whole_names, controls, config.separator, place)
    joint = codes.astype(np.int64)
    if config.other_controls == "skip":
        left_out = [bool(similar & {name, *split(name, whole_names, controls, config.separator)}) for name in names]
        joint[np.array([*left_out, False])[codes]] = -1
    amounts: list[np.ndarray] = []
    for role in ("dose", "time"):
        amount = columns[role]
        values, number = np.unique(
            np.full(len(obs), np.nan) if amount is None else numbers(obs, amount, where, role), return_inverse=True
        )
        amounts.append(values)
        joint = np.where(joint < 0, -1, joint * len(values) + number)
    met, back = np.unique(joint, return_inverse=True)
    conditions = [
        None if number < 0 else _condition(number, names, amounts, whole_names, controls, config, place)
        for number in met.tolist()
    ]
    distinct = sorted({c for c in conditions if c and not c.is_control}, key=lambda c: (len(c), str(c)))
    order = {condition: number for number, condition in enumerate((CONTROL, *distinct))}
    numbered = np.array([-1 if condition is None else order[condition] for condition in conditions], np.int64)
    return (CONTROL, *distinct), numbered[back.ravel()], sorted(controls)


def _condition(
    number: int,
    names: Sequence[str],
    amounts: Sequence[np.ndarray],
    whole_names: Collection[str],
    controls: Collection[str],
    config: Naming,
    place: str,
) -> Condition:
    """The condition for each distinct combination of name, dose and time, numbered by `number`."""
    rest, time = divmod(number, len(amounts[1]))
    name, dose = divmod(rest, len(amounts[0]))
    try:
        return parse(
            names[name],
            kind=config.perturbed_by,
            dose=_number_or_none(amounts[0][dose]),
            time=_number_or_none(amounts[1][time]),
            whole_names=whole_names,
            controls=controls,
            separator=config.separator,
        )
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def labels(obs: DataFrame, column: str | None, cells: np.ndarray, where: str) -> Labels | None:
    """Labels of these cells in a column. Raises InputError if a cell has no value."""
    if column is None:
        return None
    names, codes = _texts(obs, column)
    if (codes[cells] < 0).any():
        cell = obs.index[cells[(codes[cells] < 0).argmax()]]
        raise InputError(
            f"{where}: cell '{cell}' has no value in column '{column}'; set another column, or "
            "'none', or leave such cells out with unassigned=skip"
        )
    return Labels(names, codes[cells])


def missing_labels(obs: DataFrame, columns: Mapping[Role, str | None]) -> np.ndarray:
    """Whether each cell lacks a value in a column of labels, (N,) bool."""
    used = [column for role in ("batch", "cell_type", "donor") if (column := columns[role]) is not None]
    return np.any([np.zeros(len(obs), bool), *(_texts(obs, column)[1] < 0 for column in used)], axis=0)


def numbers(obs: DataFrame, column: str | None, where: str, role: Role) -> np.ndarray:
    """Read a column of numbers, (N,) float64, NaN if empty. All may have the same unit, such as '10 uM' or '24h'.

    Raises InputError for other values, including infinite ones, and for several units.
    """
    from pandas import to_numeric

    texts = obs[column].astype(object)
    values: Any = to_numeric(texts, errors="coerce")
    if values.dtype.kind == "c":
        raise InputError(f"{where}: column '{column}' holds complex numbers")
    ignore = f"; to ignore the column, pass --set {role}=none"
    empty = texts.isna() | texts.astype(str).isin(list(_MISSING))
    units: dict[str, Any] = {}
    for text in dict.fromkeys(texts[values.isna() & ~empty].tolist()):
        amount = _AMOUNT.fullmatch(str(text).strip())
        if amount is None:
            cell = obs.index[int((texts == text).to_numpy().argmax())]
            raise InputError(f"{where}: column '{column}', cell '{cell}': '{text}' is not a number{ignore}")
        units.setdefault(amount[2], text)
        values[texts == text] = float(amount[1])
    for cell in obs.index[np.isinf(values.to_numpy(float, na_value=np.nan))][:1]:
        raise InputError(f"{where}: column '{column}', cell '{cell}': is infinite{ignore}")
    if len(units) > 1:
        first, second = list(units.values())[:2]
        raise InputError(
            f"{where}: column '{column}' has values in several units, such as '{first}' and '{second}'; write all in "
            f"one unit{ignore}"
        )
    return values.to_numpy(float)


def _texts(
    obs: DataFrame, column: str | None, named: Collection[str] = (), unassigned: re.Pattern[str] | None = None
) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct texts of a column, and the (N,) index of each cell's text; -1 if missing.

    named: texts that are names even if they usually mark a missing value. unassigned: other texts that mark one.
    """
    from pandas import factorize

    codes, values = factorize(obs[column])
    names = [_text(name) for name in values]
    missing = _MISSING | {name for name in names if unassigned and unassigned.fullmatch(name)}
    distinct = sorted(set(names) - (missing - set(named)))
    place = {name: number for number, name in enumerate(distinct)}
    return tuple(distinct), np.array([*(place.get(name, -1) for name in names), -1], np.int64)[codes]


def _text(value: Any) -> str:
    """A cell of a table as text; 2.0 becomes 2, because missing values elsewhere turn a column into floats."""
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _number_or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _same(obs: DataFrame, first: str, second: str) -> bool:
    return bool((obs[first].astype(str).to_numpy() == obs[second].astype(str).to_numpy()).all())
