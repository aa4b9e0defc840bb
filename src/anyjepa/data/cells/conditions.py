"""Conditions of cells as sets of perturbations, and the notations of public data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from anyjepa.errors import InputError

Kind = Literal["unspecified", "knockdown", "knockout", "activation", "overexpression", "drug", "cytokine"]

_NUMBER = r"([-_ .#]*\d+)?"
_CONTROL = re.compile(
    r"((sg|sh|si|g)[-_ ]?)?(ctrl|controls?|neg(ative)?[-_ ]?(ctrl|control)|non[-_ ]?target(ing)?|nt[cg]?"
    r"|safe[-_ ]?target(ing)?|no[-_ ]?target(ing)?|intergenic|scrambled?|unperturbed|untreated|untrt"
    r"|unstim(ulated)?|vehicle|dmso|mock)([-_ ](ctrl|controls?))?" + _NUMBER,
    re.IGNORECASE,
)
_DOUBTFUL = re.compile(
    rf"({_CONTROL.pattern}|wt|(wild|parental)[-_ ]?(type|line)?"
    r"|(pbs|saline|water|h2o|blank|aavs1|rosa26|neg(ative)?|nc|ev"
    r"|empty([-_ ]?vector)?|none|null|naive|resting|basal|ethanol|etoh|media"
    r"|safe[-_ ]?harbou?r|uninfected|untransfected|untransduced|unedited|baseline"
    r"|e?gfp|rfp|bfp|mcherry|lacz|luc(iferase)?|no[-_ ]?(guide|sgrna|grna|site|treatment|drug|stim\w*|perturbation))"
    rf"{_NUMBER})([^a-z0-9].*)?",
    re.IGNORECASE | re.DOTALL,
)
_MOST_PIECES = 8  # most pieces of one known name, to bound the time for names with very many separators
_PLUS = re.compile(r"\+(?![^(]*\))")  # not the one in (+)-JQ1


@dataclass(frozen=True, order=True)
class Perturbation:
    """One perturbation of a cell: the name of the gene or compound, its kind, dose and time."""

    name: str
    kind: Kind = "unspecified"
    dose: float | None = None  # in the data's unit
    time: float | None = None  # since the perturbation, in the data's unit

    def __str__(self) -> str:
        dose = "" if self.dose is None else f"@{self.dose:g}"
        return self.name + dose + ("" if self.time is None else f"/{self.time:g}")


@dataclass(frozen=True)
class Condition:
    """A set of perturbations. The empty set is the control, and `a + b` is both at once, in either order."""

    perturbations: frozenset[Perturbation] = frozenset()

    @property
    def is_control(self) -> bool:
        return not self.perturbations

    @property
    def names(self) -> frozenset[str]:
        """Names of the genes or compounds, regardless of dose and time."""
        return frozenset(one.name for one in self.perturbations)

    def __iter__(self) -> Iterator[Perturbation]:
        return iter(sorted(self.perturbations, key=_order))

    def __len__(self) -> int:
        return len(self.perturbations)

    def __bool__(self) -> bool:
        return True  # the control is also a condition

    def __add__(self, other: Condition) -> Condition:
        return Condition(self.perturbations | other.perturbations)

    def __str__(self) -> str:
        return "+".join(map(str, self)) or "control"


CONTROL = Condition()


def parse(
    text: str,
    *,
    kind: Kind = "unspecified",
    dose: float | None = None,
    time: float | None = None,
    whole_names: Collection[str] = (),
    controls: Collection[str] = (),
    separator: str | None = None,
) -> Condition:
    """Parse a condition as written in public data: 'ctrl', 'NT', 'A', 'A+B', 'A+ctrl', and 'A_B' for known parts.

    A known name, or one of `controls`, is never split; a guide pair written twice ('A_B__A_B') is one pair.
    separator: separates pairs in addition to +, whether or not the parts are known; '' for none. kind, dose, time: of
    every perturbation in the name. Raises InputError for an empty name or part.
    """
    name = text.strip()
    if name in controls:
        return CONTROL
    parts = [name] if name in whole_names else split(name, whole_names, controls, separator)
    if not all(part.strip() for part in parts):
        raise InputError(
            f"condition {text!r}: a name is empty; write A+B for both A and B, and 'control' for no perturbation"
        )
    names = {part.strip() for part in parts} - set(controls)
    done = (name for name in names if name in whole_names or not is_control(name))
    return Condition(frozenset(Perturbation(name, kind, dose, time) for name in done))


def split(
    name: str, whole_names: Collection[str], controls: Collection[str] = (), separator: str | None = None
) -> list[str]:
    """Split a name at +, else at the separator, else at _ if all parts are known or controls.

    A known name that contains the separator stays whole: 'HLA-A-AHR' is HLA-A and AHR.
    """
    name = guide(name)
    if len(parts := _PLUS.split(name)) > 1 or is_control(name) or separator == "":
        return parts
    parts = cut(name, separator or "_", whole_names)
    return parts if separator or all(p in whole_names or p in controls or is_control(p) for p in parts) else [name]


def cut(name: str, mark: str, whole_names: Collection[str]) -> list[str]:
    """Cut a name at every mark outside known names; the longest known name that is not the whole name wins."""
    pieces, parts = name.split(mark), []
    whole = len(pieces)
    while pieces:
        longest = min(len(pieces), whole - 1, _MOST_PIECES)
        size = next((n for n in range(longest, 1, -1) if mark.join(pieces[:n]).strip() in whole_names), 1)
        parts.append(mark.join(pieces[:size]))
        pieces = pieces[size:]
    return parts


def guide(name: str) -> str:
    """Reduce a guide pair that is written twice ('A_B__A_B') to one."""
    first, _, second = name.partition("__")
    return first if first == second else name


def since(before: Condition, after: Condition) -> Condition:
    """The condition that leads from `before` to `after`: all of `after` for a control, else the time between.

    Unless `before` is the control, both belong to one time course (`time_course`), whose control is at time 0.
    """
    if before.is_control:
        return after
    (first,) = before
    return Condition(frozenset([replace(first, time=sum(one.time or 0 for one in after) - (first.time or 0))]))


def time_course(conditions: Sequence[Condition]) -> list[float] | None:
    """Time of each condition, 0 for the control; None unless all are the same single perturbation at times after 0."""
    listed = [list(condition) for condition in conditions]
    things = {replace(one, time=None) for condition in listed for one in condition}
    times = [condition[0].time or 0.0 if condition else 0.0 for condition in listed]
    alone = len(things) == 1 and all(len(condition) < 2 for condition in listed)
    return (
        times if alone and all(time > 0 for time, condition in zip(times, listed, strict=True) if condition) else None
    )


def is_control(name: str) -> bool:
    """Whether this is a usual name of unperturbed cells, such as 'ctrl', 'non-targeting', 'NT' or 'DMSO'."""
    return _CONTROL.fullmatch(name.strip()) is not None


def may_be_control(name: str) -> bool:
    """Whether this is, or starts with, the name of a control in some data, such as 'PBS', 'WT', 'AAVS1' or 'NTC_A'."""
    return _DOUBTFUL.fullmatch(name.strip()) is not None


def require_known(condition: Condition, names: Iterable[str]) -> None:
    """Raise InputError, with the nearest names, if the condition has a gene or compound that is not in `names`."""
    whole_names = dict.fromkeys(names)
    for one in condition:
        if one.name not in whole_names:
            lowered = {name.lower(): name for name in whole_names}
            near = [lowered[name] for name in get_close_matches(one.name.lower(), lowered, n=3)]
            hint = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(list(whole_names)[:40])}"
            raise InputError(f"unknown perturbation '{one.name}'; {hint}")


def _order(one: Perturbation) -> tuple:
    return (one.name, one.kind, -1.0 if one.dose is None else one.dose, -1.0 if one.time is None else one.time)
