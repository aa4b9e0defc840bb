"""Find the control among the names of a column: the names that the user sets, or else the only usual one.

Several candidates are an error: they are neither pooled nor treated as perturbations unless the user asks for it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from anyjepa.data.cells.conditions import is_control, may_be_control, split
from anyjepa.errors import InputError, did_you_mean

Name = str | bool | int | float  # YAML reads NO as false and 007 as 7
Others = Literal["raise", "perturbation", "skip"]
_LONGEST_VALUE = 100  # characters of a number or a truth value in YAML; longer texts may expand without end


def resolve(control: Sequence[Name], names: Collection[str], where: str) -> set[str]:
    """The names that are set as the control. Raises InputError if one is not in `names`."""
    return {name for one in control for name in _resolve(one, names, where)}


def look_alikes(
    names: Iterable[str], whole_names: Collection[str], controls: Collection[str], separator: str | None
) -> set[str]:
    """Names, and parts of the names of combinations, that look like a control but are not among `controls`."""
    matches: set[str] = set()
    for name in set(names) - set(controls):
        parts = [part.strip() for part in split(name, whole_names, controls, separator)]
        if len(parts) == 1 and may_be_control(name):
            pieces = [piece.strip() for piece in name.split(separator or "_")]
            rest = [piece for piece in pieces if not may_be_control(piece)]
            parts = pieces if rest and all(piece in whole_names for piece in rest) else [name]
        matches |= {part for part in parts if may_be_control(part) and (len(parts) == 1 or not is_control(part))}
    return matches - set(controls)


def check_controls(
    controls: Collection[str],
    similar: Collection[str],
    sizes: Mapping[str, int],
    explicit: bool,
    others: Others,
    where: str,
) -> None:
    """Raise InputError, which says what to set, if it is unclear which names are the control.

    sizes: number of cells of each name. explicit: whether the user set the controls.
    """
    if not controls and not similar:
        raise InputError(
            f"{where} has no control such as 'control', 'ctrl' or 'non-targeting'; pass --set control=NAME; "
            f"the names, by number of cells, are: {', '.join(sorted(sizes, key=lambda name: -sizes[name])[:40])}"
        )
    if not controls or (len(controls) > 1 and not explicit) or (similar and others == "raise"):
        raise InputError(f"{where}: {_question({*controls, *similar}, sizes)}")


def option(key: str, values: Sequence[str]) -> str:
    """The option that sets a key to these texts: `--set 'control=[A, B]'`."""
    texts = [_quoted(value) for value in values]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return f"--set {shlex.quote(f'{key}={listed}')}"


def _quoted(text: str) -> str:
    """Add quotes unless YAML reads the bare text unchanged."""
    import yaml

    try:
        bare = yaml.safe_load(text) == text and yaml.safe_load(f"[{text}]") == [text]
    except (yaml.YAMLError, ValueError, RecursionError):
        bare = False
    return text if bare else json.dumps(text, ensure_ascii=False)


def _question(matches: Collection[str], sizes: Mapping[str, int]) -> str:
    names = sorted(matches)
    shown = ", ".join(f"'{name}' ({sizes[name]} cells)" if name in sizes else f"'{name}'" for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    if len(names) == 1:
        return f"{shown} may be the control; to say so, pass {option('control', names)}"
    rest = "other_controls=perturbation or other_controls=skip"
    return (
        f"{shown}{more} look like controls; to pool them, pass {option('control', _short(names, sizes))}; to use some "
        f"of them, name those and set {rest} for the others"
    )


def _short(names: Sequence[str], others: Iterable[str]) -> list[str]:
    """The names; many that differ only in their number become `stem*`."""
    if len(names) <= 8:
        return list(names)
    stems = dict.fromkeys(re.sub(r"\d+$", "*", name) for name in names)
    safe = [stem for stem in stems if set(_matches(stem, others)) <= set(names)]
    return [*safe, *(name for name in names if not any(_matches(stem, [name]) for stem in safe))]


def _resolve(one: Name, names: Collection[str], where: str) -> list[str]:
    """The names that a setting matches. Raises InputError if there is none or if it is ambiguous."""
    text = one.strip() if isinstance(one, str) else str(one)
    if text in names:
        return [text]
    matches = _matches(text, names) if isinstance(one, str) else [name for name in set(names) if _same(name, one)]
    if not matches:
        raise InputError(f"{where}: no cell has the control '{text}'{did_you_mean(text, sorted(names))}")
    if len(matches) > 1 and not isinstance(one, str):
        raise InputError(f"{where}: control={text} may be {' or '.join(sorted(matches))}; pass it in quotes")
    return matches


def _matches(pattern: str, names: Iterable[str]) -> list[str]:
    """Names that a pattern with * matches; without *, the name itself."""
    regex = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    return [name for name in names if regex.fullmatch(name)]


def _same(name: str, value: Name) -> bool:
    """Whether YAML reads the name as this value."""
    import yaml

    if len(name) > _LONGEST_VALUE:
        return False
    try:
        read = yaml.safe_load(name)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return type(read) is type(value) and read == value
