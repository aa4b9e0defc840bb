"""GE MUSE, HL7 aECG and SCP-ECG, on files written here by the published descriptions, not by the package that reads."""

from __future__ import annotations

import base64
import contextlib
import struct
import sys
import zlib
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.vendors import scp_xml
from anyjepa.data.ecg.vendors.scp_xml import read_scp, read_xml
from anyjepa.errors import DataWarning, InputError

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
(ECG,) = simulate(SimulatorConfig(patients=1, fs=500, duration_s=5))
DIGITAL = (ECG.signal * 200).round().astype("<i2")  # (12, 2500), 5 uV a unit
STEPS = dict(zip(LEADS, DIGITAL, strict=True))

# GE MUSE: the export's DTD is named in the file and not looked up.


def muse(leads: Sequence[str] = EIGHT, change: Callable[[str], str] = lambda xml: xml) -> bytes:
    def waveform(kind: str, samples: dict[str, np.ndarray]) -> str:
        parts = [f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>500</SampleBase>"]
        parts.append("<SampleExponent>0</SampleExponent>")
        for lead, values in samples.items():
            stored = values.tobytes()
            parts.append(
                f"<LeadData><LeadByteCountTotal>{len(stored)}</LeadByteCountTotal>"
                f"<LeadSampleCountTotal>{len(values)}</LeadSampleCountTotal>"
                "<LeadAmplitudeUnitsPerBit>5</LeadAmplitudeUnitsPerBit>"
                f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{lead}</LeadID>"
                f"<LeadSampleSize>2</LeadSampleSize><LeadDataCRC32>{zlib.crc32(stored)}</LeadDataCRC32>"
                f"<WaveFormData>\n{base64.encodebytes(stored).decode()}</WaveFormData></LeadData>"
            )
        return "".join([*parts, "</Waveform>"])

    xml = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG>'
        "<PatientDemographics><PatientID>Zoé 17</PatientID><PatientAge>63</PatientAge><AgeUnits>YEARS</AgeUnits>"
        "<Gender>FEMALE</Gender></PatientDemographics><Diagnosis><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag>"
        "<StmtText>Sinus bradycardia</StmtText></DiagnosisStatement><DiagnosisStatement>"
        "<StmtText>Left bundle</StmtText></DiagnosisStatement><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag>"
        "<StmtText>branch block</StmtText></DiagnosisStatement></Diagnosis>"
        + waveform("Median", {lead: STEPS[lead][:600] for lead in leads})
        + waveform("Rhythm", {lead: STEPS[lead] for lead in leads})
        + "</RestingECG>\n"
    )
    return change(xml).encode("latin-1")


# HL7 aECG, FDA implementation guide: value = origin + scale * digit.


def aecg(leads: Sequence[str] = LEADS, change: Callable[[str], str] = lambda xml: xml) -> bytes:
    sequences = [
        '<code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS"><head value="20240229120000"/>'
        '<increment value="0.002" unit="s"/></value>'
    ]
    for lead in leads:
        digits = " ".join(map(str, STEPS[lead] - 7))
        sequences.append(
            f'<code code="MDC_ECG_LEAD_{lead.upper()}"/><value xsi:type="SLIST_PQ"><origin value="35" unit="uV"/>'
            f'<scale value="0.005" unit="mV"/><digits>{digits}</digits></value>'
        )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1.2.3"/><componentOf><timepointEvent>'
        '<componentOf><subjectAssignment><subject><trialSubject><id root="1.2" extension="Zoé 17"/>'
        '<subjectDemographicPerson><administrativeGenderCode code="F"/><birthTime value="19610301"/>'
        "</subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf></timepointEvent>"
        '</componentOf><component><series><code code="RHYTHM"/><effectiveTime><low value="20240229120000"/>'
        "</effectiveTime><component><sequenceSet>"
        + "".join(f"<component><sequence>{sequence}</sequence></component>" for sequence in sequences)
        + "</sequenceSet></component><subjectOf><annotationSet><component><annotation>"
        '<code code="MDC_ECG_INTERPRETATION"/><component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/>'
        '<value xsi:type="ST">Sinus bradycardia</value></annotation></component></annotation></component>'
        "</annotationSet></subjectOf></series></component></AnnotatedECG>\n"
    )
    return change(xml).encode()


# SCP-ECG, EN 1064: sections with a CRC each; rhythm as it is, or as second differences in the default Huffman code.

CODES = {lead: number for number, lead in enumerate(EIGHT, 1)} | {"III": 61, "aVR": 62, "aVL": 63, "aVF": 64}


def scp(
    leads: Sequence[str] = LEADS,
    packed: bool = True,
    microvolts: int = 5,
    first: Sequence[int] = (),
    short: bool = False,
) -> bytes:
    samples = [STEPS[lead].astype(int) for lead in leads]
    if short:
        samples[-1] = samples[-1][:-10]
    starts = [*first, *[1] * (len(leads) - len(first))]
    places = b"".join(
        struct.pack("<IIB", start, start + len(values) - 1, CODES[lead])
        for lead, values, start in zip(leads, samples, starts, strict=True)
    )
    coded = [huffman(second_differences(values)) if packed else values.astype("<i2").tobytes() for values in samples]
    sizes = b"".join(struct.pack("<H", len(code)) for code in coded)
    tags = [(2, b"Zoe 17\0"), (4, struct.pack("<HB", 63, 1)), (8, b"\2")]
    text = b"Sinus bradycardia\0"
    sections = {
        1: b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in tags) + b"\xff\0\0",
        **({2: struct.pack("<H", 19999)} if packed else {}),
        3: struct.pack("<BB", len(leads), 4 | len(leads) << 3) + places,
        6: struct.pack("<HHBB", 1000 * microvolts, 2000, 2 if packed else 0, 0) + sizes + b"".join(coded),
        8: struct.pack("<BHBBBBBB", 0, 2024, 2, 29, 12, 0, 0, 1) + struct.pack("<BH", 1, len(text)) + text,
    }
    return assemble(sections)


def assemble(sections: dict[int, bytes]) -> bytes:
    def section(number: int, body: bytes) -> bytes:
        rest = struct.pack("<HIBB6x", number, 16 + len(body), 20, 20) + body
        return struct.pack("<H", crc_hqx(rest, 0xFFFF)) + rest

    bodies = {number: body + bytes(len(body) % 2) for number, body in sections.items()}  # of even length
    at = 7 + 16 + 10 * 12  # section 0 has pointers to sections 0 to 11
    pointers = struct.pack("<HII", 0, 16 + 10 * 12, 7)
    for number in range(1, 12):
        length = 16 + len(bodies[number]) if number in bodies else 0
        pointers += struct.pack("<HII", number, length, at if length else 0)
        at += length
    whole = section(0, pointers) + b"".join(section(number, body) for number, body in bodies.items())
    rest = struct.pack("<I", 6 + len(whole)) + whole
    return struct.pack("<H", crc_hqx(rest, 0xFFFF)) + rest


def second_differences(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:2], np.diff(values, 2)])


def huffman(values: np.ndarray) -> bytes:
    """EN 1064, annex C: the default table."""

    def code(value: int) -> str:
        if abs(value) <= 8:
            return "0" if value == 0 else "1" * abs(value) + "0" + "01"[value < 0]
        bits = 8 if -128 <= value < 128 else 16
        return ("1111111110" if bits == 8 else "1111111111") + f"{value % 2**bits:0{bits}b}"

    bits = "".join(map(code, values.tolist()))
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


FILES = {"muse.xml": muse(), "aecg.xml": aecg(), "scp.scp": scp(), "plain.scp": scp(packed=False)}


def read_bytes(content: bytes, folder: Path, suffix: str = ".xml", **options: object) -> Recording:
    path = folder / f"r{suffix}"
    path.write_bytes(content)
    return (read_scp if suffix == ".scp" else read_xml)(path, "r", **options)  # type: ignore[arg-type]


def test_a_folder_of_all(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    found = {recording.id: recording for recording in read(tmp_path, warn=False).recordings}
    assert found.keys() == {"muse", "aecg", "scp", "plain"}
    for recording in found.values():
        assert recording.leads == (EIGHT if recording.id == "muse" else LEADS)
        expected = [STEPS[lead] * 0.005 for lead in recording.leads]
        np.testing.assert_allclose(recording.signal, expected, atol=1e-6)
        assert (recording.fs, recording.age, recording.sex) == (500, 62 if recording.id == "aecg" else 63, "F")
        assert recording.patient in ("Zoé 17", "Zoe 17")
        assert "Sinus bradycardia" in recording.statements
        assert recording.source == tmp_path.name
    assert found["muse"].statements == {"Sinus bradycardia", "Left bundle branch block"}


def test_the_four_leads_that_muse_leaves_out_follow_from_the_others(tmp_path: Path) -> None:
    twelve = EcgPreprocessing(mean=(0.0,) * 12, std=(1.0,) * 12, clip=100)
    prepared = twelve.prepare(read_bytes(FILES["muse.xml"], tmp_path))
    np.testing.assert_allclose(prepared, DIGITAL * 0.005, atol=0.011)  # each digital lead was rounded to 5 uV


@pytest.mark.parametrize("name", FILES)
def test_a_given_unit_replaces_the_scale(name: str, tmp_path: Path) -> None:
    recording = read_bytes(FILES[name], tmp_path, Path(name).suffix, unit="uV")
    stored = [STEPS[lead] - 7 * (name == "aecg.xml") for lead in recording.leads]
    np.testing.assert_allclose(recording.signal, np.array(stored) / 1000, rtol=1e-6)


def test_leads_of_any_order_and_number(tmp_path: Path) -> None:
    some = ("V6", "aVF", "II")
    for recording in (read_bytes(scp(some), tmp_path, ".scp"), read_bytes(aecg(some), tmp_path)):
        assert recording.leads == some
        np.testing.assert_allclose(recording.signal, [STEPS[lead] * 0.005 for lead in some], atol=1e-6)


def replace(old: str, new: str, count: int = -1) -> Callable[[str], str]:
    def change(xml: str) -> str:
        assert old in xml
        return xml.replace(old, new, count)

    return change


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (muse(change=replace("MICROVOLTS", "")), "'I' has no voltage unit; pass --unit"),
        (muse(change=replace(">MICROVOLTS<", ">MMHG<")), "'I' has no voltage unit; pass --unit"),
        (muse(change=replace(f"<LeadDataCRC32>{zlib.crc32(STEPS['V1'])}", "<LeadDataCRC32>1")), "damaged.*V1"),
        (muse(change=replace("<LeadSampleCountTotal>2500", "<LeadSampleCountTotal>9", 1)), "cannot be read.* 9 but"),
        (muse(change=replace("<WaveformType>Rhythm", "<WaveformType>Rhythmus")), "No rhythm waveform"),
        (muse(change=replace("</WaveFormData>", "%</WaveFormData>", 1)), "Invalid Base64"),
        (aecg(change=replace('value="0.002"', 'value="0"')), "No usable time increment"),
        (aecg(change=replace('<scale value="0.005" unit="mV"/>', "")), "'I' has no voltage unit"),
        (aecg(change=replace('value="0.005"', 'value="inf"', 1)), "scale 'inf' is not a finite number"),
        (aecg(change=replace('value="0.005"', 'value="five"', 1)), "scale 'five' is not a finite number"),
        (aecg(change=replace('<scale value="0.005"', "<scale", 1)), "scale '' is not a finite number"),
        (aecg(change=replace('value="35"', 'value="1e309"', 1)), "origin '1e309' is not a finite number"),
        (aecg(change=replace('value="0.005"', 'value="1e300"', 1)), "'I' has values that are infinite"),
        (
            aecg(change=replace('value="0.005"', 'value="0"', 1)),
            "'I': the stored unit is 0 mV, the offset .* unit must not be 0",
        ),
        (muse(change=replace("UnitsPerBit>5<", "UnitsPerBit>1e309<")), "'I': the stored unit is inf .* must be finite"),
        (muse(change=replace("UnitsPerBit>5<", "UnitsPerBit>1e307<")), "'I' has values that are infinite|beyond"),
        (muse(change=replace("UnitsPerBit>5<", "UnitsPerBit>nan<")), "'I': the stored unit is nan .* must be finite"),
        (aecg(change=replace(f" {STEPS['V6'][-1] - 7}</digits>", "</digits>")), "do not cover the same time.* V6 2499"),
        (aecg(change=replace("<digits>", "<digits>one ", 1)), "Invalid digits in lead MDC_ECG_LEAD_I "),
        (b"<project><name>x</name></project>", "the root element is 'project'"),
        (muse().replace(b"ISO-8859-1", b"UTF-8"), "not well-formed XML .*not in the encoding it declares"),
        (muse().replace(b"ISO-8859-1", b"klingon"), "not well-formed XML .*unknown encoding"),
        (muse().replace(b"ISO-8859-1", b"Shift_JIS"), "not well-formed XML .*encoding"),
        (aecg()[:-9], "not well-formed XML .*it is truncated"),
        (b"", "not well-formed XML"),
        (b"Dear reader,\n", "not well-formed XML"),
        (muse(change=replace('"restecg.dtd"', f'"restecg.dtd" [<!ENTITY l0 "ha">{LAUGHS}]')), "declares XML entities"),
        (muse(change=replace("Left", "&l9;")), "undefined entity"),
        (aecg(change=replace("<Ann", '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><Ann')), "XML entities"),
        (aecg(change=replace("<Ann", '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://x.test/">%p;]><Ann')), "XML entities"),
    ],
)
def test_broken_xml(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"r\.xml: .*{message}") as error:
        read_bytes(content, tmp_path)
    assert "\n" not in str(error.value)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def endless() -> bytes:
    """The first lead is said to end at sample 2^32 - 2."""
    lead = struct.pack("<IIB", 1, len(STEPS["I"]), CODES["I"])
    return scp().replace(lead, struct.pack("<IIB", 1, 2**32 - 2, CODES["I"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (flipped(scp(), -1), "is damaged or was modified: SCP-ECG CRC mismatch in: record"),
        (scp()[:-500], "cannot be read .*declares"),
        (scp(microvolts=0), "'I' has no voltage unit; pass --unit"),
        (scp(short=True), "do not cover the same time .*V6 2490 at 500 Hz"),
        (scp(first=[26]), "do not cover the same time"),
        (endless(), "its signal needs 34 GB, .*ANYJEPA_LIMIT_EXPANSION="),
        (assemble({1: b"\xff\0\0"}), "Section 3 .* is missing"),
        (b"", "too small"),
        (b"Dear reader,\n" * 100, "cannot be read"),
    ],
)
def test_broken_scp(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"r\.scp: .*{message}") as error:
        read_bytes(content, tmp_path, ".scp")
    assert "\n" not in str(error.value)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    twice = muse(change=lambda xml: xml.replace("<WaveformType>Median", "<WaveformType>Rhythm"))
    with pytest.warns(DataWarning, match=r"r\.xml: Additional rhythm waveform ignored"):
        assert read_bytes(twice, tmp_path).signal.shape == (8, 600)


def test_large_files_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYJEPA_LIMIT_DOCUMENT", "32kB")
    for name, content in FILES.items():
        with pytest.raises(InputError, match="more than the limit of 32 kB; to allow it, set ANYJEPA_LIMIT_DOCUMENT="):
            read_bytes(content.ljust(2**16), tmp_path, Path(name).suffix)
    with pytest.raises(InputError, match=r"none\.scp: there is no such file"):
        read_scp(tmp_path / "none.scp", "r")


def test_xml_of_too_many_elements_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp_xml, "MAX_ELEMENTS", 1000)
    read_bytes(FILES["aecg.xml"], tmp_path)
    with pytest.raises(InputError, match=r"r\.xml: has more than 1000 XML elements"):
        read_bytes(aecg(change=replace("</AnnotatedECG>", "<a/>" * 1000 + "</AnnotatedECG>")), tmp_path)


def test_without_ecgdatakit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ecgdatakit", None)
    for name, content in FILES.items():
        with pytest.raises(InputError, match=r'pip install "anyjepa\[ecg-formats\]"'):
            read_bytes(content, tmp_path, Path(name).suffix)


fuzz = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(name=st.sampled_from(sorted(FILES)), share=st.floats(0, 1, exclude_max=True))
@fuzz
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    content = FILES[name].rstrip(b"\n") if name.endswith(".xml") else FILES[name]
    with pytest.raises(InputError):
        read_bytes(content[: int(share * len(content))], tmp_path, Path(name).suffix)


@given(content=st.binary(max_size=400), suffix=st.sampled_from([".xml", ".scp"]))
@fuzz
def test_random_bytes_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    with pytest.raises(InputError):
        read_bytes(content, tmp_path, suffix)


@given(name=st.sampled_from(["muse.xml", "aecg.xml"]), data=st.data(), value=st.binary(min_size=1, max_size=3))
@fuzz
@pytest.mark.filterwarnings("ignore")  # what the reader has to say is not the point here
def test_changed_xml_raises_nothing_else(tmp_path: Path, name: str, data: st.DataObject, value: bytes) -> None:
    at = data.draw(st.integers(0, 2000))
    content = FILES[name]
    with contextlib.suppress(InputError):
        read_bytes(content[:at] + value + content[at + len(value) :], tmp_path)


@given(body=st.binary(max_size=60), number=st.sampled_from([1, 2, 3, 6, 8]))
@fuzz
@pytest.mark.filterwarnings("ignore")
def test_strange_sections_with_right_checksums_raise_nothing_else(tmp_path: Path, body: bytes, number: int) -> None:
    lead = struct.pack("<BBIIB", 1, 12, 1, 3, 1)
    good = {1: b"\xff\0\0", 2: struct.pack("<H", 19999), 3: lead, 6: struct.pack("<HHBBH", 5000, 2000, 0, 0, 1) + b"\0"}
    with contextlib.suppress(InputError):
        read_bytes(assemble(good | {number: body}), tmp_path, ".scp")
