"""What a recipe is, and how one is found, edited and validated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from anyjepa.config import Config, validated
from anyjepa.data.modalities import USUAL, AnyData
from anyjepa.data.modality import DataConfig
from anyjepa.errors import InputError
from anyjepa.evaluation.protocol import EvaluationConfig
from anyjepa.limits import BATCH
from anyjepa.nn.encoder import WholeInputConfig
from anyjepa.nn.tokens import check_table
from anyjepa.objectives.build import AnyObjective
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.recipes.plain import apply_edit, flat, read_recipe, recipe_names, set_key, without_tables
from anyjepa.training.config import TrainingConfig

MOST_CHANGES = 6  # that are listed


Edits = Sequence[str] | Mapping[str, object]


class Recipe(Config):
    """Everything that a run is made of."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[\w.-]+$", description="letters, digits, dots and dashes; names the run folder")
    description: str = Field(description="one line: what the recipe is, and which publication it follows")
    based_on: str | None = Field(None, description="recipe of the package that was the base of this one")
    data: AnyData = USUAL.config()
    objective: AnyObjective
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    perturbation: PerturbationConfig | None = Field(
        default_factory=lambda values: PerturbationConfig() if _has_conditions(values.get("data")) else None,
        description="of cells: how predicted perturbations are evaluated; none for other data",
    )

    @model_validator(mode="before")
    @classmethod
    def _perturbation_of_these_data(cls, plain: Any) -> Any:
        """An edit of data.kind may leave perturbation: null behind, which then stands for the default of the kind."""
        return (
            {k: v for k, v in plain.items() if (k, v) != ("perturbation", None)} if isinstance(plain, dict) else plain
        )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        encoder, predictor = self.objective.encoder, getattr(self.objective, "predictor", None)
        if self.perturbation is not None and not _has_conditions(self.data):
            raise ValueError(f"perturbation: these settings are for cells, and data.kind is {self.data.kind}")
        self._check_memory()
        self.objective.check(self.grid)
        if self.data.weighted and self.training.order != "replacement":
            raise ValueError(f"{self.data.weighted} need training.order=replacement")
        if self.data.absent != getattr(encoder, "absent", False):
            raise ValueError("data.missing_leads=mask and objective.encoder.absent=true go together")
        if isinstance(self.objective, PairedPredictionConfig):
            if predictor is not None and self.data.condition_dim is None:
                raise ValueError(
                    f"objective.predictor needs pairs with a condition; {self.data.kind} data give two views"
                )
            if predictor is not None and getattr(predictor, "condition_dim", None) != self.data.condition_dim:
                raise ValueError("objective.predictor.condition_dim and data.encoding.width must be the same")
            if self.data.absolute:
                raise ValueError("data.absolute_time: two views of a record have no common position")
        if (crop := self.data.crop_size) != self.data.size:
            if not isinstance(encoder, WholeInputConfig):
                raise ValueError(f"data: crops of {crop}, which differ from {self.data.size}, need encoder.kind=conv")
            encoder.grid(self.data.channels, crop)  # raises ValueError
        learned = "learned" in (
            getattr(getattr(part, "positions", None), "kind", "") for part in (encoder, predictor) if part is not None
        )
        if self.data.absolute and learned:
            raise ValueError("data.absolute_time needs positions without an end: sincos or rotary, not learned")
        if self.data.absolute and getattr(encoder.positions, "span", "grid") == "input":
            raise ValueError("data.absolute_time needs encoder.positions.span=grid: stretched positions have no place")
        return self

    def _check_memory(self) -> None:
        """Raise InputError if a micro-batch of inputs, its tokens, or a position table is too large."""
        encoder, size = self.objective.encoder, self.data.size
        samples, tokens = self.training.batch_size // self.training.accumulation, prod(self.grid)
        check_table(tokens, encoder.dim, "objective.encoder")
        tokens += getattr(encoder, "registers", 0)
        BATCH.check(
            4 * samples * self.data.channels * prod(size), f"training.batch_size: a batch of {samples} inputs of {size}"
        )
        BATCH.check(
            4 * samples * tokens * encoder.dim,
            f"training.batch_size: a batch of {samples} x {tokens} tokens of width {encoder.dim}",
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens of a full input along each axis."""
        try:
            return self.objective.encoder.grid(self.data.channels, self.data.size)
        except ValueError as error:
            raise ValueError(f"data and objective.encoder.patch do not fit together: {error}") from error


def _has_conditions(data: DataConfig | None) -> bool:
    """Whether records come in pairs with what was done to the second one, as perturbed cells do."""
    return data is not None and data.condition_dim is not None


def load_recipe(name: str | Path, edits: Edits = ()) -> tuple[Recipe, list[str]]:
    """Load a recipe by name or YAML path, with `edits` of the form 'a.b=value', and return notices (see `edited`).

    Raises InputError in one line for an unknown name, broken YAML, unknown keys or values that do not fit.
    """
    plain = read_recipe(name)
    try:
        recipe = validated(Recipe, plain, str(name))
    except InputError:
        if not edits:
            raise
        return _edited(plain, edits, str(name))  # may be valid only with the edits
    return edited(recipe, edits, str(name)) if edits else (recipe, [])


def edited(recipe: Recipe, edits: Edits, where: str = "") -> tuple[Recipe, list[str]]:
    """Apply edits to a recipe, and return notices about what else changed.

    edits: texts of the form 'a.b=value', or values by dotted key or in nested tables; a value may also be a part, such
    as a mask sampler, and a table with a `kind` replaces the one that is there.

    An edit of a `kind` drops the keys of the old kind. An edit of training.steps without one of the warm-up shortens
    a warm-up that would not end before the training does. Raises InputError.
    """
    return _edited(recipe.model_dump(mode="json"), edits, where or recipe.name)  # with all defaults: any key is there


def _edited(plain: dict[str, Any], edits: Edits, where: str) -> tuple[Recipe, list[str]]:
    before = flat(plain)
    if isinstance(edits, Mapping):
        edits = without_tables(edits)
        notices = [notice for key, value in edits.items() for notice in set_key(plain, _full(plain, key), value)]
    else:
        edits = [edits] if isinstance(edits, str) else list(edits)
        if any(not isinstance(edit, str) for edit in edits):
            raise InputError("edits must be texts such as 'training.steps=1000', or one dictionary of values by key")
        notices = [notice for edit in edits for notice in apply_edit(plain, _full(plain, edit))]
    steps: Any = flat(plain).get("training.steps")
    warmup: Any = before.get("training.optimiser.warmup")
    own = any(edit.partition("=")[0] in ("training.optimiser", "training.optimiser.warmup") for edit in edits)
    numbers = isinstance(steps, int) and isinstance(warmup, int)
    if numbers and 0 < steps <= warmup and not own and steps != before.get("training.steps"):
        set_key(plain, "training.optimiser.warmup", shorter := steps // 10)
        notices.append(f"{steps} steps are too few for a warm-up of {warmup}: training.optimiser.warmup={shorter}")
    try:
        return validated(Recipe, plain, where), notices
    except InputError as error:
        text = str(error).removeprefix(f"{where}: ")
        wrong = [edit for edit in edits if "=" in edit and edit.partition("=")[0] in text]  # edits that are texts
        raise InputError(f"--set {wrong[-1]}: {text}" if wrong else str(error)) from None


def _full(plain: Mapping[str, Any], edit: str) -> str:
    """The edit with the full key of a setting of files, such as data.file.condition for condition."""
    name, of_file = re.split(r"[.=]", edit, maxsplit=1)[0], "data.file."
    of_files = {key.removeprefix(of_file).partition(".")[0] for key in flat(plain) if key.startswith(of_file)}
    return of_file + edit if name in of_files and name not in plain else edit


def to_yaml(recipe: Recipe) -> str:
    """The recipe with every default filled in."""
    unused = {name for name in ("perturbation", "based_on") if getattr(recipe, name) is None}
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude=unused), sort_keys=False, width=100)


def changes(plain: Mapping[str, Any]) -> str:
    """'ecg-jepa-xs, changed: training.steps=10, ...' for one of the package's recipes that was edited, else ''.

    plain: the recipe as a dictionary. Settings of evaluation are left out, as they change nothing in the model.
    """
    if origin(plain) != plain.get("name"):
        return ""
    edits = [
        f"{key}={value}"
        for key, value, _ in differences(plain) or ()
        if key in flat(plain) and not key.startswith(("evaluation.", "perturbation"))
    ]
    more = [f"{len(edits) - MOST_CHANGES} more"] if len(edits) > MOST_CHANGES else []
    return f"{plain['name']}, changed: {', '.join([*edits[:MOST_CHANGES], *more])}" if edits else ""


def origin(plain: Mapping[str, Any]) -> str | None:
    """The recipe of the package that a recipe is, but for edits, or that is its base; None if there is none."""
    name = plain.get("name")
    if name in recipe_names() and plain.get("description") == load_recipe(str(name))[0].description:
        return str(name)
    base = plain.get("based_on")  # a recipe of the user's own, which may have the name of one of the package
    return base if base in recipe_names() else None


def differences(plain: Mapping[str, Any]) -> list[tuple[str, Any, Any]] | None:
    """Settings that differ from the recipe of the package (see `origin`): key, value, and value in the package's.

    plain: the recipe as a dictionary. A key that only one of them has is None in the other. None for a recipe that is
    not based on one of the package.
    """
    if (name := origin(plain)) is None:
        return None
    before, now = flat(load_recipe(name)[0].model_dump(mode="json")), flat(plain)
    keys = [key for key in dict.fromkeys([*now, *before]) if key not in ("name", "description", "based_on")]
    return [(key, now.get(key), before.get(key)) for key in keys if now.get(key) != before.get(key)]
