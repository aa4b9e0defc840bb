"""A recipe as YAML for people to read: each key with its description, and only the sections that matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import wrap

import yaml

from anyjepa.config import Config
from anyjepa.recipes.schema import Recipe

WIDTH = 100


def commented(recipe: Recipe, everything: bool = False) -> str:
    """Format a recipe as YAML with the description of each key as a comment. Reading it gives the same recipe.

    Some keys are shown only if they differ from their defaults, or with `everything`: optional keys, tables of `data`
    such as the simulator, and all of `evaluation`.
    """
    lines = list(_lines(recipe, "", everything))
    if not everything:
        lines.append(
            "# Not shown: settings of the evaluation and optional keys that have their default values (--all)."
        )
    return "\n".join(lines) + "\n"


def _lines(config: Config, path: str, everything: bool) -> Iterator[str]:
    plain = config.model_dump(mode="json")
    indent = "  " * path.count(".")
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        table = value if isinstance(value, Config) else None
        optional = (
            value is None
            or path.startswith(("evaluation.", "perturbation."))
            or (table is not None and path == "data.")
        )
        default = value == field.get_default(call_default_factory=True, validated_data=dict(config))
        if optional and default and name != "kind" and not everything:
            continue
        inner = list(_lines(table, f"{path}{name}.", everything)) if table else []
        if table and inner:
            yield from _commented(f"{indent}{name}:", field.description or _summary(table), indent)
            yield from inner
        elif not table or not default:
            text = "{}" if table else yaml.safe_dump(plain[name], default_flow_style=True, width=10**6, sort_keys=False)
            text = text.strip().removesuffix("...").strip()
            yield from _commented(f"{indent}{name}: {text}", field.description or "", indent)


def _commented(line: str, comment: str, indent: str) -> Iterator[str]:
    """A line with its comment at the end, or above it if that would be too long."""
    comment = " ".join(comment.split())
    if comment and len(line) + len(comment) + 4 > WIDTH:
        yield from (f"{indent}# {part}" for part in wrap(comment, WIDTH - len(indent) - 2))
        comment = ""
    yield f"{line}  # {comment}" if comment else line


def _summary(config: Config) -> str:
    """The first sentence of the docstring of a config."""
    paragraph = (type(config).__doc__ or "").strip().partition("\n\n")[0]
    return re.split(r"\. (?=[A-Z])", " ".join(paragraph.split()))[0]
