"""Parts of users are found by their full name, once they are imported, and never sooner."""

import pickle
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import pytest
from commands import run_cli
from pydantic import PositiveInt, TypeAdapter

import anyjepa
from anyjepa import parts
from anyjepa.config import Config, validated
from anyjepa.data import modalities
from anyjepa.data.images.modality import IMAGES
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.source import ImageDataConfig
from anyjepa.data.modalities import PREPROCESSING, AnyData, add_modality, modality_of
from anyjepa.data.modality import Modality, Preprocessing
from anyjepa.errors import DataWarning, InputError
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.kinds import AnyMaskSampler
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.pooling import AnyHead
from anyjepa.nn.predictor import AnyPredictor
from anyjepa.objectives.build import AnyObjective
from anyjepa.objectives.losses import AnyDistance
from anyjepa.objectives.regularisers import AnyRegulariser
from anyjepa.objectives.targets import AnyTarget
from anyjepa.parts import Kinds, Part, import_parts, kinds_of
from anyjepa.recipes.plain import set_key
from anyjepa.training.draws import DrawnCrops

VIT = {"patch": [25], "dim": 8, "depth": 1, "heads": 1, "causal": True, "cls": True, "positions": {"kind": "rotary"}}
PREDICTOR = {"dim": 8, "depth": 1, "heads": 1}
PIXELS = {"mean": [0.5] * 3, "std": [0.2] * 3}
EXAMPLES: dict[str, dict[str, Any]] = {  # of the parts that have keys without defaults
    "ViTConfig": VIT,
    "PredictorConfig": PREDICTOR,
    "DensePredictorConfig": {"heads": 1},
    "MaskedPredictionConfig": {"encoder": VIT, "predictor": PREDICTOR},
    "NextEmbeddingConfig": {"encoder": VIT},
    "PairedPredictionConfig": {"encoder": VIT},
    "EcgPreprocessing": {"mean": [0.0] * 12, "std": [1.0] * 12},
    "ImagePreprocessing": PIXELS,
    "VideoPreprocessing": PIXELS | {"frames": 4},
    "SeriesPreprocessing": {"length": 8, "mean": [0.0], "std": [1.0]},
    "CellPreprocessing": {"genes": ["A"], "values": "counts", "encoding": {"width": 32, "names": ["A"]}},
}


class Shape(Part):
    @abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    """A part of the package, as far as its module's name goes."""

    __module__ = "anyjepa.shapes"
    kind: Literal["square"] = "square"
    side: PositiveInt = 1

    def area(self) -> float:
        return self.side**2


class Strip(Shape):
    """A part as users write it, without a `kind`."""

    length: PositiveInt = 2

    def area(self) -> float:
        return self.length


class Draft(Shape):
    """A part whose author forgot a method."""


class Drawing(Config):
    shape: Annotated[Shape, Kinds(Square, usual="square")] = Square()
    other: Annotated[Shape, Kinds(Square)] | None = None


STRIP = f"{__name__}.Strip"


def read(shape: object) -> Shape:
    return validated(Drawing, {"shape": shape}, "here").shape


@pytest.mark.parametrize(
    ("table", "shape"),
    [
        ({}, Square()),
        ({"side": 3}, Square(side=3)),
        ({"kind": "square"}, Square()),
        ({"kind": STRIP, "length": 5}, Strip(length=5)),
    ],
)
def test_a_kind_names_a_part_of_the_package_or_of_the_user(table: dict[str, object], shape: Shape) -> None:
    assert read(table) == shape
    assert type(read(table)) is type(shape)


def test_a_part_of_a_user_is_saved_under_its_full_name_and_comes_back() -> None:
    saved = Drawing(shape=Strip(length=5), other=Strip()).model_dump(mode="json")
    assert saved == {"shape": {"kind": STRIP, "length": 5}, "other": {"kind": STRIP, "length": 2}}
    assert Drawing.model_validate(saved) == Drawing(shape=Strip(length=5), other=Strip())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"kind": "sqare"}, "here: shape: kind 'sqare' is not known; did you mean 'square'?"),
        (
            {"kind": "my_shapes.Star"},
            "here: shape: kind 'my_shapes.Star' is not known; pass --import my_shapes (or import my_shapes in Python)",
        ),
        (
            {"kind": f"{__name__}.Strap"},
            f"here: shape: kind '{__name__}.Strap' is not known: {__name__} has no Shape Strap; did you mean 'Strip'?",
        ),
        ({"kind": f"{__name__}.Draft"}, f"here: shape: kind '{__name__}.Draft' is not complete: define area"),
        ({"kind": STRIP, "lenght": 3}, "here: unknown key 'shape.lenght'; did you mean 'length'?"),
        ({"kind": STRIP, "length": 0}, "here: shape.length must be greater than 0, got 0"),
        ("square", "here: shape must be a table of keys such as 'shape.kind', got 'square'"),
    ],
)
def test_what_is_wrong_with_a_part_is_one_line(shape: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(shape)
    assert str(error.value) == message


def test_without_a_usual_kind_a_table_must_name_one() -> None:
    with pytest.raises(InputError, match=r"^here: other: key 'kind' is missing; there are: square$"):
        validated(Drawing, {"other": {"side": 2}}, "here")


def test_a_class_defined_again_replaces_the_old_one() -> None:
    """As when a cell of a notebook runs twice."""

    def define(area: float) -> type[Shape]:
        class Blob(Shape):
            __qualname__ = "Blob"  # as in the cell of a notebook

            def area(self) -> float:
                return area

        return Blob

    old, new = define(1), define(2)
    assert Drawing.model_validate({"shape": old()}).shape.area() == 1
    assert Drawing.model_validate(Drawing(shape=old()).model_dump()).shape.area() == 2
    assert new().kind == old().kind


FAMILIES = [  # a field that takes any part of a family
    AnyData,
    AnyDistance,
    AnyEncoder,
    AnyHead,
    AnyPredictor,
    AnyTarget,
    AnyMaskSampler,
    AnyObjective,
    AnyRegulariser,
    Annotated[Preprocessing, PREPROCESSING],
]
BUILTIN = [pytest.param(family, part, id=part.__name__) for family in FAMILIES for part in get_args(family)[1].builtin]


@pytest.mark.parametrize(("family", "part"), BUILTIN)
def test_a_class_that_extends_a_part_of_the_package_has_a_kind_of_its_own(family: Any, part: type[Part]) -> None:
    name = f"My{part.__name__}"
    if len(kinds_of(part)) > 1:
        with pytest.raises(InputError, match=f"{part.__name__} stands for several kinds .*; extend "):
            type(name, (part,), {"__module__": __name__})
        return
    mine = type(name, (part,), {"__module__": __name__})
    settings = EXAMPLES.get(part.__name__, {})
    field = TypeAdapter(family)
    saved = field.dump_python(mine(**settings), mode="json")
    assert saved["kind"] == f"{__name__}.{name}"
    assert saved == part(**settings).model_dump(mode="json") | {"kind": saved["kind"]}
    assert type(field.validate_python(saved)) is mine
    assert type(field.validate_python({**settings, "kind": kinds_of(part)[0]})) is part
    plain: dict[str, object] = {}
    set_key(plain, "part", mine(**settings))
    assert plain == {"part": saved}


def test_a_class_of_a_user_does_not_choose_its_kind() -> None:
    with pytest.raises(InputError, match=f"^class Star: leave 'kind' out; .* is {__name__}.Star$"):
        type("Star", (Shape,), {"__module__": __name__, "__annotations__": {"kind": Literal["star"]}, "kind": "star"})


def test_a_class_in_a_function_is_refused() -> None:
    with pytest.raises(InputError, match=r"^class .*<locals>.Local: it is defined in a function, .*; move it to a mod"):

        class Local(Shape): ...


MODULE = "from tests.test_parts import Shape\n\nclass Star(Shape):\n    def area(self):\n        return 7\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module `stars`."""
    (tmp_path / "stars.py").write_text(MODULE.replace("tests.test_parts", __name__))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(parts, "_FILES", {})
    yield tmp_path
    sys.modules.pop("stars", None)


def test_a_recipe_imports_nothing_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(InputError, match="--import stars"):
        read({"kind": "stars.Star"})
    assert "stars" not in sys.modules


@pytest.mark.parametrize("name", ["stars", "stars.py", "./stars.py"])
def test_import_by_name_or_by_file(folder: Path, name: str) -> None:
    import_parts(name)
    assert read({"kind": "stars.Star"}).area() == 7


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "comets", "--import comets: there is no such module here or on Python's path"),
        (None, "comets.py", "--import comets.py: there is no such module here or on Python's path"),
        ("\n1 / 0\n", "comets", "--import comets: comets.py line 2: division by zero"),
        ("import nowhere_at_all\n", "comets", "--import comets: comets.py line 1: No module named 'nowhere_at_all'"),
    ],
)
def test_what_is_wrong_with_a_module_is_one_line(folder: Path, text: str | None, name: str, message: str) -> None:
    if text is not None:
        (folder / "comets.py").write_text(text)
    with pytest.raises(InputError) as error:
        import_parts(name)
    assert str(error.value) == message


def test_a_class_that_is_refused_is_found_by_its_line(folder: Path) -> None:
    (folder / "comets.py").write_text(MODULE.replace("def area", "kind: str = 'star'\n    def area"))
    with pytest.raises(InputError) as error:
        import_parts("comets")
    assert str(error.value) == (
        "--import comets: comets.py line 3: class Star: leave 'kind' out; the kind of your own part is comets.Star"
    )


HOSTILE = ("regex", "tabulate", "torchvision", "plugin_dependency")


@pytest.mark.parametrize("name", ["stars", "stars.py", "installed"])
def test_other_files_of_a_folder_are_not_imported(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for hostile in HOSTILE:
        (folder / f"{hostile}.py").write_text("raise SystemExit('hostile')")
    (folder / "site").mkdir()
    monkeypatch.syspath_prepend(folder / "site")
    optional = "try:\n    import plugin_dependency\nexcept ImportError:\n    pass\n"
    (folder / "site/installed.py").write_text(optional)
    (folder / "stars.py").write_text(optional + (folder / "stars.py").read_text())
    before = [*sys.path]
    import_parts(name)
    assert sys.path == before
    sys.modules.pop("installed", None)


WAVES = """
from anyjepa.masks.base import MaskSampler

class Waves(MaskSampler):
    def sample(self, grid, shared, uniforms):
        return "waves"
"""


def test_a_worker_process_imports_the_file_and_no_other(folder: Path) -> None:
    for hostile in HOSTILE:
        (folder / f"{hostile}.py").write_text("raise SystemExit('hostile')")
    (folder / "waves.py").write_text(WAVES)
    import_parts("waves")
    try:
        crops: Any = sys.modules["waves"].Waves()  # stands for crops that use a class of the user
        (folder / "pickled").write_bytes(pickle.dumps(DrawnCrops(crops, 0, False, 1)))
    finally:
        del sys.modules["waves"]
    script = "import pickle; print(pickle.load(open('pickled', 'rb')).crops.sample(0, 0, 0)); import tabulate"
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "waves\n", done.stderr
    assert "hostile" not in done.stderr


def test_a_file_named_like_another_module_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text("")
    with pytest.raises(InputError, match=r"--import json.py: there is another module 'json', .*; rename the file"):
        import_parts("json.py")


def test_an_installed_package_offers_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of an entry point or by the part's full name, which is what is saved."""
    monkeypatch.syspath_prepend(folder)
    offers = [EntryPoint("star", "stars:Star", parts.GROUP)]
    monkeypatch.setattr(parts, "entry_points", lambda group: offers if group == parts.GROUP else [])
    assert read({"kind": "square"}).area() == 1
    assert "stars" not in sys.modules
    assert read({"kind": "stars.Star"}).model_dump() == {"kind": "stars.Star"}
    assert read({"kind": "star"}).model_dump() == {"kind": "stars.Star"}


def test_a_package_whose_part_cannot_be_imported_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "entry_points", lambda group: [EntryPoint("star", "nowhere:Star", parts.GROUP)])
    with pytest.raises(InputError, match="its part 'star' cannot be imported: No module named 'nowhere'"):
        read({"kind": "star"})


@pytest.mark.parametrize(
    ("offered", "message"),
    [("STRIP", "kind 'star' is not known"), ("Draft", f"kind '{__name__}.Draft' is not complete: define area")],
)
def test_an_offer_that_is_no_class_or_incomplete(offered: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offers = [EntryPoint("star", f"{__name__}:{offered}", parts.GROUP)]
    monkeypatch.setattr(parts, "entry_points", lambda group: offers)
    with pytest.raises(InputError, match=message):
        read({"kind": "star"})


def test_what_an_offered_module_also_defines_is_found_by_its_full_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the preprocessing of a modality whose config is offered. Offers of other names are not loaded."""
    monkeypatch.syspath_prepend(folder)
    (folder / "stars.py").write_text((folder / "stars.py").read_text() + "\nclass Dwarf(Star): ...\n")
    offers = [EntryPoint("other", "nowhere:Other", parts.GROUP), EntryPoint("star", "stars:Star", parts.GROUP)]
    monkeypatch.setattr(parts, "entry_points", lambda group: offers)
    assert read({"kind": "stars.Dwarf"}).model_dump() == {"kind": "stars.Dwarf"}
    with pytest.raises(InputError, match="stars has no Shape Giant"):
        read({"kind": "stars.Giant"})


def test_a_class_of_a_notebook_is_warned_of_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    mine: Any = type("Mine", (BlocksConfig,), {"__module__": "__main__"})
    edits = {"objective.masks": mine, "training.steps": 2, "training.batch_size": 4}
    with pytest.warns(DataWarning) as warned:
        anyjepa.pretrain("ijepa-demo", edits=edits, output=tmp_path / "run")
    lost = [str(warning.message) for warning in warned if "__main__" in str(warning.message)]
    assert lost == [
        "__main__.Mine: only this interpreter can load the model; move the class to a module to load it later"
    ]


class Photos(ImageDataConfig): ...


class Sketches(Photos): ...


class PhotoPreprocessing(ImagePreprocessing): ...


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Modality]:
    """The modalities, which a test may change."""
    monkeypatch.setattr(modalities, "MODALITIES", {**modalities.MODALITIES})
    return modalities.MODALITIES


def test_a_config_that_extends_one_of_the_package_has_its_own_modality(known: dict[str, Modality]) -> None:
    pixels = PhotoPreprocessing(**EXAMPLES["ImagePreprocessing"])
    assert modality_of(Photos()) is modality_of(pixels) is IMAGES  # as long as it is in no modality
    photos = replace(IMAGES, config=Photos, preprocessing=PhotoPreprocessing)
    for _ in range(2):  # as when a cell of a notebook runs twice
        add_modality(photos)
    assert photos.kind == f"{__name__}.Photos"
    assert modality_of(Photos()) is modality_of(pixels) is modality_of(Sketches()) is photos
    assert modality_of(ImageDataConfig()) is IMAGES


def test_a_class_is_in_one_modality(known: dict[str, Modality]) -> None:
    with pytest.raises(InputError, match="ImageDataConfig belongs to images; extend it with your own class"):
        add_modality(replace(IMAGES))
    with pytest.raises(InputError, match="ImagePreprocessing belongs to images; extend it with your own class"):
        add_modality(replace(IMAGES, config=Photos))


class NoPrepare(Preprocessing):
    channels: ClassVar[int] = 1
    size: tuple[int, ...] = (4,)


class NoSize(Preprocessing):
    channels: ClassVar[int] = 1

    def prepare(self, raw: Any) -> Any: ...


@pytest.mark.parametrize(("preprocessing", "missing"), [(NoPrepare, "prepare"), (NoSize, "size")])
def test_what_a_modality_lacks_is_one_line(preprocessing: Any, missing: str, known: dict[str, Modality]) -> None:
    with pytest.raises(InputError, match=f"^{__name__}.{preprocessing.__name__} has no {missing}; define it$"):
        add_modality(replace(IMAGES, config=Photos, preprocessing=preprocessing))
    assert f"{__name__}.Photos" not in known


@pytest.mark.parametrize("command", [["data", "inspect", "."], ["data", "prepare", ".", "-o", "store"]])
def test_commands_for_data_import_parts(command: list[str], folder: Path) -> None:
    done = run_cli(*command, "--import", "comets")
    assert (done.code, done.err) == (2, "anyjepa: --import comets: there is no such module here or on Python's path\n")
