"""Cells, columns, elements and keys changed in what is otherwise a whole document or table."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zlib
from random import Random
from typing import Any

import numpy as np
from archives import array_mutated
from formats import knows
from mutations import WORDS, bytes_mutated, extreme_number, tree_mutated


@knows(".json")
def json_tree(rng: Random, content: bytes, _: bytes) -> bytes:
    tree = json.loads(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        tree = tree_mutated(rng, tree)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


@knows(".yaml")
def yaml_tree(rng: Random, content: bytes, _: bytes) -> bytes:
    import yaml

    tree = yaml.safe_load(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        tree = tree_mutated(rng, tree)
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


@knows(".yaml")
def yaml_oddity(rng: Random, content: bytes, _: bytes) -> bytes:
    """What YAML has beside plain values."""
    odd = b"&a [*a];&a {x: *a};!!python/object/apply:os.system [x];!!binary eA==;2020-99-99;<<: 3;!!set {a};- - -;? x"
    more = b"!!timestamp 2001-01-01;12:30:45;0o17;1_0;|\n  x;!!float x;!!int x;!!null x;[[[;%YAML 9;---;...;@x;`x;.inf"
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = lines[at].partition(b":")[0] + b": " + rng.choice((odd + b";" + more).split(b";"))
    return b"\n".join(lines)


@knows(".csv", ".tsv")
def cells(rng: Random, content: bytes, _: bytes) -> bytes:
    """A cell, a row or a column of a CSV changed."""
    text = content.decode("latin-1")
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    at = rng.randrange(min(len(rows), rng.choice([1, 3, len(rows)])))
    column = rng.randrange(len(rows[at]))
    kind = rng.randrange(8)
    if kind < 3:
        rows[at][column] = rng.choice([extreme_number(rng), rng.choice(WORDS)])
    elif kind == 3:
        value = rng.choice([extreme_number(rng), rng.choice(WORDS)])
        rows[1:] = [[*row[:column], value, *row[column + 1 :]] for row in rows[1:]]
    elif kind == 4:
        rows = [row[:column] + row[column + 1 :] for row in rows]
    elif kind == 5:
        rows = [[*row, row[column % max(1, len(row))] if row else ""] for row in rows]
    elif kind == 6:
        rows[at].append("x")
    else:
        rows[at] = rows[at][:-1]
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return made.getvalue().encode("utf-8", "replace")


@knows(".parquet")
def parquet(rng: Random, content: bytes, _: bytes) -> bytes:
    """A column with other values or of another type, twice or not there; other metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)
    at = rng.randrange(table.num_columns)
    name, values = table.column_names[at], table.column(at).to_pylist()
    odd = [
        None,
        -1,
        0,
        2**40,
        1e308,
        float("nan"),
        float("inf"),
        "x",
        b"x",
        [1],
        [None],
        {"a": 1},
        True,
        [float("inf")],
    ]
    kind = rng.randrange(7)
    if kind == 0:
        table = table.remove_column(at)
    elif kind == 1:
        table = table.append_column(rng.choice([name, "x", "", "fs"]), table.column(at))
    elif kind == 2:
        table = table.rename_columns(
            [rng.choice([*WORDS, "fs"]) if n == at else c for n, c in enumerate(table.column_names)]
        )
    elif kind == 3:
        table = table.replace_schema_metadata({rng.choice(["fs", "unit", "pandas"]): rng.choice([*WORDS, "nan", "{}"])})
    elif kind == 4:
        values[rng.randrange(len(values))] = rng.choice([*odd, *(values[:1])])
        like = table.schema.field(at).type
        try:
            column = pa.array(values, like)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            column = pa.array(values)
        table = table.set_column(at, name, column)
    elif kind == 5:
        table = table.set_column(at, name, pa.array([rng.choice(odd)] * len(table)))
    else:
        table = rng.choice([table.slice(0, 0), pa.concat_tables([table, table]), table.slice(1)])
    made = io.BytesIO()
    pq.write_table(table, made, compression=rng.choice(["none", "snappy", "gzip"]))
    return made.getvalue()


@knows(".h5ad", ".hdf5")
def hdf5(rng: Random, content: bytes, _: bytes) -> bytes:
    """A data set, group or attribute replaced, left out, linked elsewhere."""
    import h5py

    made = io.BytesIO(content)
    with h5py.File(made, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        node: Any = file[name]
        kind = rng.randrange(9)
        if kind == 0:
            del file[name]
        elif kind == 1 and len(node.attrs):
            key = rng.choice(list(node.attrs))
            if rng.random() < 0.3:
                del node.attrs[key]
            else:
                node.attrs[key] = rng.choice(
                    ["", "array", "csc_matrix", "dataframe", "x", -1, [1, 2], [2**40, 2**40], 0.5]
                )
        elif kind == 2:
            target = rng.choice(
                [h5py.SoftLink(f"/{rng.choice(names)}"), h5py.SoftLink("/"), h5py.ExternalLink("x.h5", "/")]
            )
            del file[name]
            file[name] = target
        elif kind == 3 and isinstance(node, h5py.Dataset):
            del file[name]
            file.create_group(name)
        elif kind == 4:
            file.move(name, rng.choice(["x", f"{name}x", f"x/{name}"]))
        elif kind == 5:
            copied = rng.choice(names)
            del file[name]
            if copied in file:
                file.copy(copied, name)
        elif isinstance(node, h5py.Dataset):
            attributes, value = dict(node.attrs), node[()]
            del file[name]
            if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
                file[name] = array_mutated(rng, value)
            else:
                file[name] = rng.choice(
                    [0, "x", [1.5], ["a", "b"], np.zeros((2, 0)), np.zeros(3, "S0".replace("0", "4"))]
                )
            for key, attribute in attributes.items():
                file[name].attrs[key] = attribute
    return made.getvalue()


@knows(".xml")
def xml(rng: Random, content: bytes, _: bytes) -> bytes:
    """An element's text, an attribute or an element changed."""
    kind = rng.randrange(5)
    if kind == 0:
        found = list(re.finditer(rb">([^<>]+)<", content))
        chosen = rng.choice(found)
        text = rng.choice(
            [extreme_number(rng).encode(), rng.choice(WORDS).encode(), bytes_mutated(rng, chosen[1], content)]
        )
        return content[: chosen.start(1)] + text + content[chosen.end(1) :]
    if kind == 1:
        chosen = rng.choice(list(re.finditer(rb'="([^"]*)"', content)))
        return (
            content[: chosen.start(1)]
            + rng.choice([extreme_number(rng), "V", "s", "ms"]).encode()
            + content[chosen.end(1) :]
        )
    if kind == 2:
        chosen = rng.choice(list(re.finditer(rb"<(\w+)[^<>/]*>.*?</\1>", content, re.DOTALL)))
        return content[: chosen.start()] + rng.choice([b"", chosen[0] * 2]) + content[chosen.end() :]
    if kind == 3:
        odd = [
            b'<!DOCTYPE a [<!ENTITY b "c">]>',
            b"<?x y?>",
            b"<![CDATA[<]]>",
            b"<!--" + b"-" * 99,
            b"<a>" * 2000,
            b"&#0;",
            b"&x;",
        ]
        at = rng.choice([match.end() for match in re.finditer(rb">", content)])
        return content[:at] + rng.choice(odd) + content[at:]
    return _base64(rng, content)


def _base64(rng: Random, content: bytes) -> bytes:
    """Samples of GE MUSE changed, with the right CRC and, mostly, the right counts."""
    chosen = rng.choice(list(re.finditer(rb"<LeadData>.*?</LeadData>", content, re.DOTALL)))
    lead = chosen[0]
    data = re.search(rb"<WaveFormData>(.*?)</WaveFormData>", lead, re.DOTALL)
    assert data is not None
    samples = bytes_mutated(rng, base64.b64decode(data[1]), content)
    lead = lead.replace(data[1], base64.encodebytes(samples))
    lead = re.sub(rb"(<LeadDataCRC32>)\d+", b"\\g<1>%d" % zlib.crc32(samples), lead)
    if rng.random() < 0.7:
        lead = re.sub(rb"(<LeadByteCountTotal>)\d+", b"\\g<1>%d" % len(samples), lead)
        lead = re.sub(rb"(<LeadSampleCountTotal>)\d+", b"\\g<1>%d" % (len(samples) // 2), lead)
    return content[: chosen.start()] + lead + content[chosen.end() :]


@knows(".sets")
def edits(rng: Random, content: bytes, other: bytes) -> bytes:
    """Lines of `--set`: a value of one key for another, an odd value, an odd key."""
    lines = content.decode("utf-8", "replace").splitlines()
    at = rng.randrange(len(lines))
    key, _, value = lines[at].partition("=")
    odd = ["[1, 2]", "{a: 1}", "null", ".nan", ".inf", "-1", "0", "1e400", "2**3", "!!python/name:os.system", "*x", "'"]
    kind = rng.randrange(4)
    if kind == 0:
        value = rng.choice(lines).partition("=")[2]
    elif kind == 1:
        value = rng.choice([*odd, extreme_number(rng), *WORDS])
    elif kind == 2:
        key = rng.choice(
            [key + ".x", key.rpartition(".")[0], "." + key, key.replace(".", ".."), rng.choice(WORDS), "x"]
        )
    else:
        key = f"{key.rpartition('.')[0]}.kind" if "." in key else "kind"
        value = rng.choice(
            ["ecg", "images", "cells", "series", "video", "paired", "next_embedding", "spans", "blocks", "tubes"]
        )
    lines[at] = f"{key}={value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")
