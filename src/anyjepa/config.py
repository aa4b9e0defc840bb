"""The base of every config: frozen, strict, with descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
# Far above any network in use: a slip of the keyboard ends in a line, not in a full memory.
Width = Annotated[int, Field(gt=0, le=2**16)]  # of a network, or of a patch in samples
Depth = Annotated[int, Field(gt=0, le=1000)]


class Config(BaseModel):
    """A part's settings. Unknown keys are errors; a value never changes after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def usual_kind(kind: str) -> BeforeValidator:
    """In a union by `kind`: which one a table means that names none."""

    def named(value: Any) -> Any:
        return {"kind": kind, **value} if isinstance(value, dict) else value

    return BeforeValidator(named)


def written(tables: Sequence[str], plain: Any) -> list[str]:
    """The path of a table as its author wrote it: pydantic names the member of a union on the way, too."""
    path = []
    for name in tables:
        if isinstance(plain, Mapping) and name not in plain:
            continue
        path.append(name)
        plain = plain.get(name) if isinstance(plain, Mapping) else None
    return path
