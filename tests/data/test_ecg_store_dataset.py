"""Training on stores gives the numbers of training in memory, drawn as the recipe says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.prepare import writing
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import Entry
from anyjepa.data.ecg.source import Selection, training_data, training_set
from anyjepa.data.ecg.store_dataset import StoredDataset
from anyjepa.errors import DataWarning, InputError

LEADS = ("I", "II", "V1")
CONFIG = EcgDataConfig(fs=100, leads=("V1", "II"), duration_s=2)
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a store of records with these lengths at 100 Hz, their amplitude and offset in mV."""

    def store(
        name: str, lengths: tuple[int, ...], scale: float = 0.2, offset: float = 0, prefix: str = "", **settings: object
    ) -> Path:
        for number, length in enumerate(lengths):
            signal = np.random.default_rng([length, number]).normal(offset, scale, (len(LEADS), length))
            np.savez(
                tmp_path / f"{name}{number}.npz",
                signals=signal, fs=100, leads=LEADS, unit="mV", ids=[f"{prefix}{number}"], patients=[str(number // 2)],
            )  # fmt: skip
        files = [tmp_path / f"{name}{number}.npz" for number in range(len(lengths))]
        prepare_store(files, tmp_path / "root" / name, **{"fs": 100, "leads": LEADS, **settings})
        return tmp_path / "root" / name

    return store


def train_on(config: EcgDataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> Any:
    return training_data(config, paths, exclude)


def in_memory(store: Path, config: EcgDataConfig = CONFIG) -> EcgDataset:
    """The data set of the files that a store was made of."""
    files = sorted(store.parent.parent.glob(f"{store.name}*.npz"))
    return train_on(config, files)


def test_a_store_trains_on_the_same_numbers_as_its_files(make: Make) -> None:
    store = make("a", (300, 250, 200, 420), scale=0.3, offset=0.7)
    stored, memory = train_on(CONFIG, [store]), in_memory(store)
    assert isinstance(stored, StoredDataset)
    for fact in ("ids", "groups", "groups_known", "tasks", "source", "notes"):
        assert getattr(stored, fact) == getattr(memory, fact)
    assert stored.preprocessing.model_dump(exclude={"mean", "std"}) == memory.preprocessing.model_dump(
        exclude={"mean", "std"}
    )
    np.testing.assert_allclose(stored.preprocessing.mean, memory.preprocessing.mean, rtol=1e-12)
    np.testing.assert_allclose(stored.preprocessing.std, memory.preprocessing.std, rtol=1e-12)
    for index in range(4):
        np.testing.assert_allclose(stored[index], memory[index], rtol=0, atol=5e-7)  # an ulp of the largest value, 5
        (a, start), (b, same) = (d.crop(index, np.random.default_rng(index)) for d in (stored, memory))
        assert (start, a.shape, a.dtype) == (same, (2, 200), np.float32)
        np.testing.assert_array_equal(a, stored[index][:, start : start + 200])
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-7)


def test_constants_are_of_the_records_in_use(make: Make) -> None:
    store = make("a", (300, 250, 210))
    dataset = train_on(CONFIG, [store], exclude=["1"])
    used = np.concatenate([dataset.signals.stores[0].signal(row) for row in (0, 2)], axis=1)
    assert dataset.ids == ("0", "2")
    np.testing.assert_allclose(dataset.preprocessing.mean, used[[2, 1]].mean(axis=1, dtype=np.float64), rtol=1e-12)
    with pytest.raises(InputError, match="records to exclude are not in the data: 9"):
        train_on(CONFIG, [store], exclude=["9"])


def test_short_records_and_missing_leads_follow_the_policy(make: Make) -> None:
    store = make("a", (300, 150))
    dataset = train_on(CONFIG, [store])
    assert dataset.skipped == {"1": f"{store}: record '1': 1.5 s long, a crop needs 2 s"}
    with pytest.raises(InputError, match=r"record '1': 1\.5 s long"):
        train_on(CONFIG.model_copy(update={"short": "raise"}), [store])
    with pytest.raises(InputError, match="no usable record"):
        train_on(CONFIG.model_copy(update={"duration_s": 5.0}), [store])


def test_a_lead_that_a_record_lacks_is_zero_or_refused(make: Make, tmp_path: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(1, 300))
    np.savez(tmp_path / "few.npz", signals=signal, fs=100, leads=["V1"], unit="mV", ids=["few"])
    store = make("a", (300,))
    prepare_store(
        [tmp_path / "a0.npz", tmp_path / "few.npz"], tmp_path / "b", fs=100, leads=LEADS, missing_leads="zero"
    )
    with pytest.raises(InputError, match="record 'few': lead 'II' is missing"):
        train_on(CONFIG, [tmp_path / "b"])
    skipping = train_on(CONFIG.model_copy(update={"on_error": "skip"}), [tmp_path / "b"])
    assert (skipping.ids, list(skipping.skipped)) == (("0",), ["few"])
    zero = CONFIG.model_copy(update={"missing_leads": "zero"})
    dataset, memory = (
        train_on(zero, [tmp_path / "b"]),
        train_on(zero, [tmp_path / "a0.npz", tmp_path / "few.npz"]),
    )
    np.testing.assert_allclose(dataset.preprocessing.std, memory.preprocessing.std, rtol=1e-12)
    np.testing.assert_allclose(dataset[1], memory[1], rtol=0, atol=5e-7)
    assert (dataset[1][1] == 0).all()
    assert dataset.notes == memory.notes == {"few": "missing: II"}
    assert len(train_on(CONFIG, [store])) == 1
    other = CONFIG.model_copy(update={"leads": ("I", "II"), "missing_leads": "mask"})  # 'few' has neither
    for paths, reason in (([tmp_path / "b"], "lead 'I' is missing"), ([tmp_path / "few.npz"], "has none of the leads")):
        with pytest.raises(InputError, match=reason):
            train_on(other, paths)


def test_several_stores_are_joined_and_ids_told_apart(make: Make) -> None:
    a, b = make("a", (300, 300), scale=0.2), make("b", (300, 300, 400), scale=0.4, prefix="b")
    dataset = train_on(CONFIG, [a, b])
    assert dataset.ids == ("0", "1", "b0", "b1", "b2")
    assert train_on(CONFIG, [a.parent]).ids == dataset.ids  # the folder that holds them
    both = [d.signals.stores[0].signal(r) for d in [train_on(CONFIG, [s]) for s in (a, b)] for r in range(len(d))]
    samples = np.concatenate(both, axis=1, dtype=np.float64)[[2, 1]]
    np.testing.assert_allclose(dataset.preprocessing.std, samples.std(axis=1), rtol=1e-12)
    c = make("c", (300,))
    clash = train_on(CONFIG, [a, c], exclude=["c/0"])
    assert clash.ids == ("a/0", "1")
    assert clash.shares is None


def test_shares_by_mixture_and_by_time(make: Make) -> None:
    root = make("a", (300, 500)).parent
    make("b", (200, 200, 400), prefix="b")
    mixture = {"mixture": {"b": 0.7, "a": 0.3}}
    records = train_on(EcgDataConfig(**CONFIG.model_dump() | mixture), [root])
    assert records.ids == ("b0", "b1", "b2", "0", "1")
    np.testing.assert_allclose(records.shares, [0.7 / 3, 0.7 / 3, 0.7 / 3, 0.15, 0.15])
    times = train_on(EcgDataConfig(**CONFIG.model_dump() | mixture | {"sampling": "time"}), [root])
    np.testing.assert_allclose(times.shares, [0.175, 0.175, 0.35, 0.3 * 3 / 8, 0.3 * 5 / 8])
    plain = CONFIG.model_copy(update={"sampling": "time"})
    for dataset in (train_on(plain, [root / "a"]), in_memory(root / "a", plain)):
        np.testing.assert_allclose(dataset.shares / dataset.shares.sum(), [3 / 8, 5 / 8])


def test_one_absurd_record_does_not_ruin_the_constants(make: Make, tmp_path: Path) -> None:
    alone = train_on(CONFIG, [make("a", (3000, 2000), scale=0.1)]).preprocessing
    signal = np.load(tmp_path / "a0.npz")["signals"] + np.array([[0], [0], [1e6]])
    np.savez(tmp_path / "b.npz", signals=signal, fs=100, leads=LEADS, unit="mV", ids=["b"])
    prepare_store([tmp_path / f"{name}.npz" for name in ("a0", "a1", "b")], tmp_path / "c", fs=100, leads=LEADS)
    with pytest.warns(DataWarning) as caught:
        constants = train_on(CONFIG, [tmp_path / "c"]).preprocessing
    large, left_out = sorted(str(warning.message) for warning in caught)
    assert "leads are implausibly large" in large
    assert "V1 up to 1e+06 mV" in large
    assert left_out.endswith("are excluded from the mean and standard deviation (V1)")
    assert (constants.mean[0], constants.std[0]) == (alone.mean[0], alone.std[0])  # V1
    assert constants.std[1] == pytest.approx(alone.std[1], rel=0.05)


def test_each_store_by_its_own_constants(make: Make) -> None:
    root = make("a", (3000,), scale=0.1, offset=1).parent
    make("b", (2000, 2000), scale=0.5, offset=-1, prefix="b")
    changes = {"mixture": {"a": 0.8, "b": 0.2}, "standardise": "each", "clip": 50.0}
    dataset = train_on(EcgDataConfig(**CONFIG.model_dump() | changes), [root])
    crops = [dataset.crop(index, np.random.default_rng(0))[0] for index in range(3)]
    for crop in crops:
        assert abs(crop.mean()) < 0.3
        assert 0.8 < crop.std() < 1.2
    model = dataset.preprocessing  # of what is drawn: .8 from a, .2 from b
    np.testing.assert_allclose(model.mean, [0.8 - 0.2] * 2, atol=0.05)
    spread = 0.8 * (0.1**2 + 0.4**2) + 0.2 * (0.5**2 + 1.6**2)
    np.testing.assert_allclose(model.std, [spread**0.5] * 2, rtol=0.05)
    np.testing.assert_array_equal(dataset[0], model.standardise(dataset.signals.stores[0].signal(0)[[2, 1]]))


def test_a_model_prepares_a_source_as_its_store_was(tmp_path: Path) -> None:
    rng, paths, files = np.random.default_rng(0), [], []
    for name, scale, highpass in (("a", 0.1, None), ("b", 0.5, 0.5)):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / f"{name}.npz")
        signal = rng.normal(1, scale, (1, len(LEADS), 3000))
        np.savez(files[-1], signals=signal, fs=100, leads=LEADS, unit="mV", ids=[name])
        paths.append(tmp_path / "root" / name)
        prepare_store([files[-1]], paths[-1], fs=100, leads=LEADS, highpass_hz=highpass)
    changes = {"mixture": {"a": 0.8, "b": 0.2}, "standardise": "each", "clip": 50.0}
    dataset = train_on(EcgDataConfig(**CONFIG.model_dump() | changes), [tmp_path / "root"])
    saved = EcgPreprocessing.model_validate_json(dataset.preprocessing.model_dump_json())
    assert {source: own.highpass_hz for source, own in saved.per_source.items()} == {"a": None, "b": 0.5}
    for index, (file, store) in enumerate(zip(files, paths, strict=True)):
        crop, start = dataset.crop(index, rng)
        np.testing.assert_array_equal(crop, dataset[index][:, start : start + 200])
        for place in (file, store):
            np.testing.assert_allclose(saved.prepare(read(place).recordings[0]), dataset[index], rtol=0, atol=5e-6)
    together = train_on(
        EcgDataConfig(**CONFIG.model_dump() | changes | {"standardise": "together"}), [tmp_path / "root"]
    )
    assert list(together.preprocessing.per_source) == ["b"]  # for its filter


def test_a_store_that_does_not_fit_the_recipe_is_refused(make: Make, tmp_path: Path) -> None:
    store = make("a", (300,))
    for changes, message in (
        ({"fs": 250.0}, r"a: has 100 Hz, but the recipe 250 Hz; set data\.fs=100, or prepare a store with --fs 250"),
        ({"leads": ("I", "V6")}, "a: has no lead 'V6'; it has I, II, V1"),
        ({"gaps": "refuse"}, "gaps in a store are already filled"),
        ({"unit": "uV"}, "a store contains mV"),
        ({"mixture": {"a": 0.5, "ptb": 0.5}}, "data.mixture: data must be one folder"),
    ):
        with pytest.raises(InputError, match=message):
            train_on(CONFIG.model_copy(update=changes), [store, store] if "mixture" in changes else [store])
    with pytest.raises(
        InputError, match=r"a0\.npz: is not a store, unlike the other data; convert it with anyjepa data prepare"
    ):
        train_on(CONFIG, [store, tmp_path / "a0.npz"])
    mixed = CONFIG.model_copy(update={"mixture": {"a": 0.5, "ptb": 0.25, "code-15": 0.25}})
    message = r"do not exist: ptb, code-15\. Make each with: anyjepa data prepare FOLDER -o .*ptb \(code-15 with --high"
    with pytest.raises(InputError, match=message):
        train_on(mixed, [store.parent])
    with pytest.raises(ValueError, match=r"mixture: the shares add up to 0\.9"):
        EcgDataConfig(mixture={"a": 0.5, "b": 0.4})


def test_a_published_filter_that_is_missing_is_told(make: Make) -> None:
    root = make("code-15", (300,)).parent
    config = CONFIG.model_copy(update={"mixture": {"code-15": 1.0}})
    with pytest.warns(DataWarning, match=r"code-15: was prepared without --highpass-hz 0\.5"):
        train_on(config, [root])


def test_only_the_training_part_of_a_published_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    recordings = [
        Recording(f"{split}", rng.normal(0, 0.2, (3, 300)), 100, LEADS, split=split)
        for split in (None, "train", "validation", "test")
    ]
    monkeypatch.setattr(writing, "find", lambda *_, **__: iter([Entry("here", lambda: recordings)]))
    prepare_store([], tmp_path / "store", fs=100, leads=LEADS)
    dataset = train_on(CONFIG, [tmp_path / "store"])
    assert (dataset.ids, list(dataset.skipped)) == (("None", "train"), ["validation", "test"])
    assert len(train_on(CONFIG.model_copy(update={"part": "all"}), [tmp_path / "store"])) == 4


def test_arrays_in_memory_keep_their_path() -> None:
    signal = np.random.default_rng(0).normal(size=(3, 300))
    dataset = training_set(CONFIG, Selection([Recording("x", signal, 100, LEADS)], {}))
    assert type(dataset) is EcgDataset
    assert dataset.shares is None


def test_what_only_stores_can_do_is_refused_for_other_data(make: Make, tmp_path: Path) -> None:
    make("a", (300,))
    memory = Selection([Recording("x", np.random.default_rng(0).normal(size=(3, 300)), 100, LEADS)], {})
    each = CONFIG.model_copy(update={"standardise": "each"})
    with pytest.raises(InputError, match=r"data\.standardise=each needs stores, but the data are files or arrays"):
        training_set(each, memory)
    with pytest.raises(InputError, match=r"data\.standardise=each needs stores, but the data are files or arrays"):
        training_data(each, [tmp_path / "a0.npz"])
    with pytest.raises(InputError, match=r"data\.mixture needs stores, but the data are files or arrays"):
        training_set(CONFIG.model_copy(update={"mixture": {"a": 1.0}}), memory)
