"""A checker of prose: turns of phrase that a native speaker would not write, and lines that are too long."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from itertools import pairwise

LONGEST_LINE = 200  # characters of prose; code blocks and tables may be wider
LONGEST_CELL = 120  # of a table, without the targets of links

NOUNS = (
    "batch|cell|chunk|clip|class|condition|dimension|epoch|fold|forward|gene|group|image|key|kind|layer|lead|"
    "microbatch|module|patch|patient|perturbation|protein|question|record|recording|repeat|representation|row|sample|"
    "second|seed|step|token|video"
)
COUNTED = (
    "axis|batch|cells?|column|counts?|crops?|dimension|file|genes?|head|images?|labels?|line|loss|"
    "network|number|numbers|once|one|parameters?|pass|place|rate|records?|row|rows|samples?|scores?|seeds?|steps?|"
    "threshold|time|tokens?|twice|values?|vectors?|windows?|five|two|three|ten"
)
BANNED = {
    r"(?<!there )\b(is|are|was|were) no (?!longer|more|less|better|worse|larger|smaller|different)": "is not a",
    rf"\b({COUNTED}) an? ({NOUNS})\b": "per",
    r"\bgo(es|ing)? on with\b|\bgone on with\b": "resume, continue",
    r"\bjudg(e|es|ed|ing|e?ments?)\b": "evaluate",
    r"\btold\b": "listed, known, distinguished",
    r"\btakes? 1/\d": "is N times faster",
    r"\bteach(es|ing)?\b(?!er)": "train",
    r"\bbegin(s|ning)? anew\b|\bmakes? anew\b": "starts again",
    r"\bwhat would be right\b": "how to fix it",
    r"\blearnt\b": "learned",
    r"\bforetells?\b": "predict",
    r"\b(stands?|standing|put) beside\b": "next to",
    r"(?<![\w.)\]\"'])\.\d": "a zero before the point",
}

PARTICIPLES = re.compile(r"_*(asked|found|given|known|said|taken|taught|told|wanted)")  # as names of things


def banned_turns(text: str) -> list[str]:
    """Each banned turn in `text` with its surroundings and what to write instead."""
    return [
        f"...{text[max(match.start() - 30, 0) : match.end() + 30]!r}...: write '{better}'"
        for pattern, better in BANNED.items()
        for match in re.finditer(pattern, text, flags=re.I)
    ]


def prose(markdown: str) -> str:
    """Markdown without its code blocks, code spans and targets of links; tables stay."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.M | re.S)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def long_lines(markdown: str) -> list[str]:
    """Lines of more than 200 characters outside of code blocks and tables."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.M | re.S)
    return [line for line in text.splitlines() if len(line) > LONGEST_LINE and not line.startswith("|")]


def wide_cells(markdown: str) -> list[str]:
    """Cells of tables that belong in the text below the table."""
    rows = [line for line in re.sub(r"\]\([^)]*\)", "]", markdown).splitlines() if line.startswith("|")]
    return [cell for row in rows for cell in re.split(r"(?<!\\)\|", row) if len(cell) > LONGEST_CELL]


def unfinished_lines(markdown: str) -> list[str]:
    """Lines of prose that stop inside a sentence: the next one goes on in the same paragraph."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.M | re.S)
    lines = text.splitlines()
    return [
        line
        for line, following in pairwise(lines)
        if re.match(r"[\w\[(`*]", line.lstrip("-* "))
        and re.match(r" *[a-z(`]", following)
        and not line.rstrip().endswith((".", ":", ";", "!", "?", "`", ")"))
    ]


def prose_of_code(source: str) -> str:
    """Comments, docstrings and other strings of Python code that contain a space, without format specifications."""
    nodes = _nodes(source)
    formats = {
        id(part)
        for value in nodes
        if isinstance(value, ast.FormattedValue) and value.format_spec
        for part in ast.walk(value.format_spec)
    }
    strings = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and " " in node.value
        and id(node) not in formats
    ]
    comments = re.findall(r"^(?:.*  | *)# (.+)$", source, flags=re.M)
    return re.sub(r"`[^`\n]*`", "`code`", "\n".join([*strings, *comments]))


def participles(source: str) -> list[str]:
    """Variables, arguments, attributes, functions and classes that are named by a bare participle."""
    names = {
        name
        for node in _nodes(source)
        for name in (
            [node.id]
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            else [node.arg]
            if isinstance(node, ast.arg)
            else [node.attr]
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            else [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else []
        )
    }
    return sorted(name for name in names if PARTICIPLES.fullmatch(name.lower()))


@lru_cache(maxsize=1)
def _nodes(source: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(source)))
