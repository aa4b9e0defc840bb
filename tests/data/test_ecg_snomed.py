from __future__ import annotations

from anyjepa.data.ecg.sets.snomed import DIAGNOSES, EQUIVALENT, SCORED, UNSCORED


def test_thirty_classes_are_scored_as_twenty_six() -> None:
    assert len(SCORED) == 30
    assert len({EQUIVALENT.get(code, code) for code in SCORED}) == 26
    assert {*EQUIVALENT, *EQUIVALENT.values()} <= set(SCORED)
    assert not set(EQUIVALENT) & set(EQUIVALENT.values())


def test_codes_abbreviations_and_names_are_told_apart() -> None:
    assert not set(SCORED) & set(UNSCORED)
    assert (
        len({d.abbreviation for d in DIAGNOSES.values()}) == len({d.name for d in DIAGNOSES.values()}) == len(DIAGNOSES)
    )
    assert all(_is_snomed(code) for code in DIAGNOSES)


def _is_snomed(code: str) -> bool:
    """Whether the last digit is the check digit of the others (Verhoeff), so that a slip of the pen fails."""
    check = 0
    for place, digit in enumerate(map(int, reversed(code))):
        for _ in range(place):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        turned = (check - digit if check >= 5 else check + digit) % 5  # the dihedral group of the pentagon
        check = turned + 5 * ((check >= 5) != (digit >= 5))
    return check == 0
