"""What strangers could send: strategies for text, JSON, YAML, tables and bytes that nearly are what is expected."""

import json
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

HTML = "<script>alert(1)</script>"
ESCAPES = "\x1b[31m\x1b]0;mine\x07\x9b2J"
NASTY = (
    HTML,
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;\"'`",
    "</title></style></script>",
    ESCAPES,
    "\u202egnp.exe\u2066",
    "[bold red]markup[/] [link=file:///etc/passwd]x[/link]",
    "$\\frac{1}$ {{ 7*7 }} {% raw %} %s %(x)s {0}",
    "\ud800\udcff",
    "\0",
    "\r\n\t\v",
    "",
    " ",
    ".",
    "..",
    "../../outside",
    "/etc/passwd",
    "~root",
    "C:\\nul:stream",
    "a" * 300,
    "é\u0301\u200b\ufeff",
    "1e999",
    "-1",
    "NaN",
    "0x10",
    "９",
    "9" * 5000,
)
NUMBERS = (
    0,
    -1,
    1,
    2,
    1e-300,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    2**31,
    2**63,
    2**64,
    10**400,
    0.5,
    -0.0,
)

texts = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=30), st.text("suprejctminla:@->,.0123456789=/x%\n", max_size=40)
)
leaves = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


def changed(document: Any) -> st.SearchStrategy[Any]:
    """A JSON document in which something, somewhere, is something else, gone, twice, or deeply nested."""
    return st.builds(
        _changed, st.just(document), st.lists(st.integers(0, 2**16), min_size=1, max_size=8), values, _KINDS
    )


_KINDS = st.sampled_from(("replace", "replace", "replace", "remove", "twice", "deep"))


def _changed(document: Any, path: Sequence[int], value: Any, kind: str) -> Any:
    if not path or not isinstance(document, dict | list) or not document:
        return _nested(value) if kind == "deep" else value
    if isinstance(document, dict):
        key = list(document)[path[0] % len(document)]
        if kind == "remove" and len(path) == 1:
            return {k: v for k, v in document.items() if k != key}
        return document | {key: _changed(document[key], path[1:], value, kind)}
    at = path[0] % len(document)
    if kind in ("remove", "twice") and len(path) == 1:
        return document[:at] + document[at : at + 1] * 2 * (kind == "twice") + document[at + 1 :]
    return [*document[:at], _changed(document[at], path[1:], value, kind), *document[at + 1 :]]


def _nested(value: Any) -> Any:
    for _ in range(300):
        value = [value]
    return value


def as_json(content: Any) -> bytes:
    """JSON of anything: NaN, infinities and thousands of digits too."""
    try:
        return json.dumps(content).encode()
    except ValueError:  # Python writes no such long number
        return b'{"images": [{"id": ' + b"9" * 5000 + b"}]}"


def damaged(*files: bytes) -> st.SearchStrategy[bytes]:
    """One of some files with bytes changed, cut away, put in or repeated; or none of it."""
    cuts = st.tuples(st.integers(0, 2**20), st.integers(0, 64), st.binary(max_size=24))
    return st.one_of(
        st.builds(_damaged, st.sampled_from(files), st.lists(cuts, min_size=1, max_size=4)), st.binary(max_size=200)
    )


def _damaged(data: bytes, cuts: Sequence[tuple[int, int, bytes]]) -> bytes:
    for place, length, put_in in cuts:
        at = place % (len(data) + 1)
        data = data[:at] + put_in + (b"" if length == 64 else data[at + length :])
    return data


def texts_of(*parts: str) -> st.SearchStrategy[str]:
    """Texts put together from parts of a grammar, mostly, and anything else."""
    part = st.sampled_from(parts)
    return st.lists(st.one_of(part, part, part, texts), min_size=1, max_size=6).map("".join)


def png(width: int, height: int, depth: int = 8, color: int = 2, pixels: bytes = b"") -> bytes:
    """A PNG file that says what it likes of itself, with checksums that fit."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def record_of(run: Path, number: int) -> dict[str, Any]:
    """The record of an image in a run folder."""
    with sqlite3.connect(run / "ledger.sqlite") as rows:
        (record,) = rows.execute("SELECT record FROM images WHERE id = ?", (number,)).fetchone()
    rows.close()
    return json.loads(record)


def rewrite(run: Path, number: int, record: bytes) -> None:
    """Writes another record of an image into a run folder."""
    with sqlite3.connect(run / "ledger.sqlite") as rows:
        rows.execute("UPDATE images SET record = ? WHERE id = ?", (record.decode(), number))
    rows.close()
