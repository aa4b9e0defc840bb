"""Settings for names in the column of conditions, and checks for names that may be pairs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from anyjepa.config import Config
from anyjepa.data.cells.conditions import Kind, cut, guide, is_control, split
from anyjepa.data.cells.controls import Name, Others, option
from anyjepa.errors import DataWarning, InputError

NONE = "none"  # setting for a column that the table does not have, or that is not used

_MARK = re.compile(r"\s+(?:and|plus|with|x)\s+|[^A-Za-z0-9]+")  # separators between the two names of a pair
_NUMBER = re.compile(r"[-+.\deE]+")
_AMOUNT = re.compile(r"\d+(\.\d+)?\s*([a-zA-Zµμ%][\w/%]{0,5})?")  # such as 10uM and 24h
_PAIR = r"A(\W+|_+|\s+\w+\s+)B"


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | bool | int | float) else value


class Naming(Config):
    """How the names in the column of conditions are read."""

    control: Annotated[tuple[Name, ...] | None, BeforeValidator(_several)] = Field(
        default=None,
        min_length=1,
        description="name of the control, or a list of names; * matches any text; none: a usual name, if there is one",
    )
    other_controls: Others = Field(
        default="raise", description="cells with a usual control name that is not set as the control"
    )
    pairs: str | None = Field(
        default=None,
        pattern=rf"(?s)^({_PAIR}|none)$",
        description="another spelling of the pair A+B, such as A|B; 'none': no other; none: A_B, if both "
        "occur alone or are genes",
    )
    perturbed_by: Kind = Field(default="unspecified", description="how all perturbations of the file work")

    @property
    def separator(self) -> str | None:
        """Separator of pairs in addition to +; '' for none; None: _ between known names."""
        if self.pairs == NONE:
            return ""
        return self.pairs and (self.pairs[1:-1].strip() or " ")


def ask_for_separator(
    sizes: Mapping[str, int],
    whole_names: Collection[str],
    singles: Collection[str],
    controls: Collection[str],
    place: str,
) -> None:
    """Raise InputError for a name that joins other names with a separator that is not set.

    sizes: cells of each name. known: names that are never split. singles: names that a part can have.
    """
    for name in sizes:
        if (
            name in controls
            or is_control(name)
            or _NUMBER.fullmatch(name)
            or len(split(name, whole_names, controls)) > 1
        ):
            continue
        for mark in dict.fromkeys(_MARK.findall(name)):
            parts = [part.strip() for part in cut(name, mark, singles)]
            some = any(part in singles and part not in controls for part in parts)
            if some and all(part in singles or is_control(part) for part in parts):
                raise InputError(
                    f"{place}: '{name}' ({sizes[name]} cells) looks like a pair of {' and '.join(parts)}; to read it "
                    f"as a pair, pass {option('pairs', [f'A{mark}B'])}; else set pairs=none"
                )


def warn_of_halves(
    names: Collection[str], whole_names: Collection[str], controls: Collection[str], separator: str | None, place: str
) -> None:
    """Warn about names with several parts if some of the parts are unknown."""
    odd: dict[str, str] = {}
    for name in names if separator != "" else ():
        parts = [part.strip() for part in cut(guide(name), separator or "_", whole_names)]
        strange = [part for part in parts if part not in whole_names and part not in controls and not is_control(part)]
        half = len(strange) < len(parts) and not any(map(is_control, parts))
        if name not in whole_names and name not in controls and len(parts) > 1 and strange and (separator or half):
            odd[name] = strange[0]
    for name in sorted(odd)[:1]:
        done = "read as pairs" if separator else "each read as one perturbation"
        advice = "write pairs as A+B"
        if _AMOUNT.fullmatch(odd[name]):
            advice = "write doses and times as numbers in columns of their own (--set dose=COLUMN, --set time=COLUMN)"
        warnings.warn(
            DataWarning(
                f"{place}: {len(odd)} conditions such as '{name}' are {done}, although '{odd[name]}' is not a gene of "
                f"the panel and never occurs alone; {advice}"
            ),
            stacklevel=2,
        )
