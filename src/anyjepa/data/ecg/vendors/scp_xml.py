"""GE MUSE XML, HL7 aECG and SCP-ECG files, through ecgdatakit.

The package decodes the file. This module checks the file before and the result after: no XML entities, valid
checksums, known voltage units, and leads of equal length and rate. MUSE exports have eight leads; the other four are
derived from I and II (`EcgPreprocessing`).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

import numpy as np

from anyjepa.data.ecg.recording import Recording, millivolts_per
from anyjepa.data.files import read_bytes
from anyjepa.errors import DataWarning, InputError, reason
from anyjepa.limits import check_size

if TYPE_CHECKING:
    from ecgdatakit import ECGRecord, Lead

MAX_ELEMENTS = 500_000
"""Limit for an XML file: half an hour of beats with their waves. Each element takes at least 200 bytes and 20 us."""


def read_xml(path: Path, id: str, source: str = "", unit: str | float | None = None) -> Recording:
    """Read the rhythm of a GE MUSE ('RestingECG') or HL7 aECG ('AnnotatedECG') file in mV.

    The root element decides the format. Entities are refused, and nothing outside the file is read. unit: size of a
    stored unit, used instead of the file's scale. Raises InputError for any other file.
    """
    root = _root(read_bytes(path), path)
    if root not in ("RestingECG", "AnnotatedECG"):
        raise InputError(
            f"{path}: is not an ECG: the root element is '{root[:80]}'; only GE MUSE ('RestingECG') and HL7 aECG "
            "('AnnotatedECG') can be read"
        )

    def parse() -> ECGRecord:
        if root == "RestingECG":
            from ecgdatakit.parsing.parsers.ge_muse_xml import GEMuseXMLParser as Parser
        else:
            from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser as Parser
        return Parser().parse(path)

    return _recording(parse, path, id, source, unit)


def read_scp(path: Path, id: str, source: str = "", unit: str | float | None = None) -> Recording:
    """Read the rhythm of an SCP-ECG file (EN 1064, ISO 11073-91064) in mV. unit: see `read_xml`. Raises InputError.

    Compressed files take at least 0.1 s: their Huffman codes are decoded bit by bit.
    """
    content = read_bytes(path)
    check_size(8 * _declared_samples(content), len(content), f"{path}: its signal")  # decoded as int64

    def parse() -> ECGRecord:
        from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser

        return SCPECGParser().parse(path)

    return _recording(parse, path, id, source, unit)


def _declared_samples(content: bytes) -> int:
    """Number of samples that section 3 of an SCP-ECG file declares over all leads; 0 without such a section."""
    pointers = content[22:142]  # after the checksum, size and header of section 0: number, length, place from 1
    for section, length, place in struct.iter_unpack("<HII", pointers[: len(pointers) // 10 * 10]):
        if section == 3 and length and place + 15 < len(content):
            leads = content[place + 17 :][: 9 * content[place + 15]]
            spans = struct.iter_unpack("<IIB", leads[: len(leads) // 9 * 9])
            return sum(max(0, last - first + 1) for first, last, _ in spans)
    return 0


def _root(content: bytes, path: Path) -> str:
    """Return the name of the root element. Raises InputError for malformed XML, entities or too many elements."""
    root, count = "", 0
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal root, count
        name = name.rpartition(" ")[2]
        root, count = root or name, count + 1
        if count > MAX_ELEMENTS:
            raise InputError(f"{path}: has more than {MAX_ELEMENTS} XML elements; is it an ECG?")
        # ecgdatakit replaces a scale that is not a number with 1, and such an origin with 0.
        if name in ("scale", "origin") and root == "AnnotatedECG" and not _is_number(attributes.get("value", "")):
            raise InputError(f"{path}: {name} '{attributes.get('value', '')[:40]}' is not a finite number")

    def refuse(*_: object) -> NoReturn:
        raise InputError(f"{path}: declares XML entities, which are refused because they can hide or inflate content")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except InputError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two are raised for unknown encodings
        raise InputError(
            f"{path}: is not well-formed XML ({error}); it is truncated, damaged, or not in the encoding it declares"
        ) from error
    return root


def _recording(parse: Callable[[], ECGRecord], path: Path, id: str, source: str, unit: str | float | None) -> Recording:
    record, notes = _parsed(parse, path)
    signal = [_millivolts(lead, path, unit) for lead in record.leads]
    spans = {(len(lead.samples), lead.sampling_rate, lead.annotations.get("start_sample")) for lead in record.leads}
    if len(spans) != 1:
        samples = ", ".join(f"{lead.label} {len(lead.samples)} at {lead.sampling_rate} Hz" for lead in record.leads)
        raise InputError(f"{path}: its leads do not cover the same time (samples: {samples})")
    texts = (" ".join(part for part in statement if part).strip() for statement in record.interpretation.statements)
    patient = record.patient
    recording = Recording(
        id=id,
        signal=np.stack(signal),
        fs=record.leads[0].sampling_rate,
        leads=tuple(lead.label for lead in record.leads),
        patient=patient.patient_id.strip() or None,
        statements=frozenset(filter(None, texts)),
        source=source,
        age=None if patient.age is None or not 0 <= patient.age <= 150 else float(patient.age),
        sex=patient.sex if patient.sex in ("F", "M") else None,
        file=str(path),
    )
    for note in notes:
        warnings.warn(f"{path}: {note}", DataWarning, stacklevel=4)
    return recording


def _parsed(parse: Callable[[], ECGRecord], path: Path) -> tuple[ECGRecord, list[str]]:
    """Parse a file with ecgdatakit and collect its warnings; a wrong checksum is an error."""
    try:
        from ecgdatakit import ChecksumWarning

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = parse()
    except ImportError as error:
        raise InputError(
            f'{path}: its format needs the ecgdatakit package: pip install "anyjepa[ecg-formats]"'
        ) from error
    except Exception as error:  # ecgdatakit's own errors, and whatever its parsing raises
        why = reason(error).replace(f" in {path}", "")
        raise InputError(f"{path}: cannot be read ({type(error).__name__}: {why})") from error
    for warning in caught:
        if issubclass(warning.category, ChecksumWarning):
            raise InputError(f"{path}: is damaged or was modified: {reason(warning.message)}")
    return record, [reason(warning.message) for warning in caught]


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _millivolts(lead: Lead, path: Path, unit: str | float | None) -> np.ndarray:
    """Convert a lead to mV, (T,) float64. ecgdatakit does not scale the stored values, but reports their unit."""
    if unit is not None:
        return lead.samples * millivolts_per(unit, str(path))
    if not lead.resolution_unit:
        raise InputError(f"{path}: '{lead.label}' has no voltage unit; pass --unit")
    if not np.isfinite(lead.resolution) or not np.isfinite(lead.offset) or not lead.resolution:
        raise InputError(
            f"{path}: '{lead.label}': the stored unit is {lead.resolution:g} {lead.resolution_unit}, the offset "
            f"{lead.offset:g}; "
            "both must be finite, and the unit must not be 0"
        )
    with np.errstate(over="ignore"):  # a recording refuses voltages that are not finite
        return (lead.samples * lead.resolution + lead.offset) * millivolts_per(lead.resolution_unit, str(path))
