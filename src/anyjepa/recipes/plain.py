"""Recipes as nested tables of plain values: list, read, merge and edit them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from anyjepa.config import Config
from anyjepa.data.files import read_text
from anyjepa.errors import InputError, did_you_mean
from anyjepa.limits import RECIPE
from anyjepa.recipes.yaml_text import plain_yaml


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def about(name: str) -> dict[str, str]:
    """What the list of recipes says about a recipe of the package: its data, its size, what it needs."""
    return _packaged(name)["about"]


def read_recipe(name: str | Path) -> dict[str, Any]:
    """Read a recipe by name or YAML path, merged into its `base`, which `based_on` names if it is of the package.

    Raises InputError for an unknown name and for a file that is not a recipe.
    """
    plain = _read(name)
    if "base" not in plain:
        return plain
    based_on = _beside(name, plain.pop("base"))
    base = _read(based_on)
    if "base" in base:
        raise InputError(f"{name}: its base has a base itself; recipes inherit one level")
    return merge(base, plain) | ({"based_on": based_on} if based_on in recipe_names() else {})


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Update `base` with `over`, table by table. A table of another `kind` replaces that of the base."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), dict)
        same_kind = both and value.get("kind", merged[key].get("kind")) == merged[key].get("kind")
        merged[key] = merge(merged[key], value) if same_kind else value
    return merged


def apply_edit(plain: dict[str, Any], edit: str) -> list[str]:
    """Set one dotted key, and return notices. A change of `kind` drops the keys of the old kind, with a notice."""
    key, equals, text = edit.partition("=")
    if not equals or not key:
        raise InputError(f"--set {edit}: write it as key=value, e.g. training.steps=1000")
    try:
        value = plain_yaml(text, f"--set {key}")
    except InputError:
        value = text
    return set_key(plain, key, value)


def set_key(plain: dict[str, Any], key: str, value: object) -> list[str]:
    """As `apply_edit`, with any value: a config or a class of configs stands for the table that describes it."""
    if isinstance(value, type) and issubclass(value, Config):
        value = value()
    if isinstance(value, Config):
        value = value.model_dump(mode="json")
    edit, (*tables, last) = key, key.split(".")
    for name in tables:
        if plain.get(name) is None:  # also one that is left out on purpose
            plain[name] = {}
        plain = plain[name]
        if not isinstance(plain, dict):
            raise InputError(f"--set {edit}: '{name}' is a value, not a table")
    notices = []
    if last == "kind" and plain.get("kind", value) != value:
        dropped = [name for name in plain if name != "kind"]
        for name in dropped:
            del plain[name]
        if dropped:
            notices = [f"{key}={value} drops {', '.join(dropped)}, which belonged to the old kind"]
    plain[last] = value
    return notices


def without_tables(edits: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables of edits by dotted key; a table with a `kind` is one value."""
    keys = {}
    for key, value in edits.items():
        nested = isinstance(value, Mapping) and "kind" not in value
        keys |= without_tables(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return keys


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables into one with dotted keys."""
    keys = {}
    for key, value in table.items():
        keys |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return keys


def _read(name: str | Path) -> dict[str, Any]:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return {key: value for key, value in _packaged(str(name)).items() if key != "about"}
    plain = plain_yaml(read_text(path, RECIPE), str(name))
    if not isinstance(plain, dict):
        raise InputError(f"{name}: a recipe must be a table of keys, not a {type(plain).__name__}")
    return plain


def _packaged(name: str) -> dict[str, Any]:
    if name not in recipe_names():
        close = did_you_mean(name, recipe_names())
        hint = close if "did you mean" in close else "; 'anyjepa recipes' lists them, and a file must end in .yaml"
        raise InputError(f"there is no recipe '{name}'{hint}")
    return plain_yaml(_folder().joinpath(f"{name}.yaml").read_text(), name)


def _beside(name: str | Path, base: object) -> str | Path:
    """A base that is a file is relative to the folder of the recipe."""
    if not isinstance(base, str):
        raise InputError(f"{name}: base must be the name of a recipe or of a YAML file")
    return Path(name).parent / base if base.endswith((".yaml", ".yml")) else base


def _folder() -> Any:
    return resources.files("anyjepa.recipes")
