"""`images.csv`, and `images.parquet` where pyarrow is there: one row an image, made from the ledger at any time.

docs/columns.md says what each column is; `python docs/columns.py` writes it from the columns of the tasks.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import Any

from detattack.core.csv_text import csv_lines
from detattack.core.files import write_bytes_atomic, write_chunks_atomic
from detattack.runs.folder import RunFolder
from detattack.runs.record import BaseRecord
from detattack.tasks.columns import Kind, RecordColumn

IMAGES_CSV, IMAGES_PARQUET = "images.csv", "images.parquet"
PANDAS: Mapping[Kind, str] = {"text": "string", "integer": "Int64", "number": "Float64", "boolean": "boolean"}
"""The type of each kind in pandas; all of them know a missing value."""
ROWS_AT_ONCE = 2000


def write_image_tables(folder: RunFolder[Any], columns: Sequence[RecordColumn]) -> None:
    """Write the table of a run's images: as CSV, and as Parquet where pyarrow is installed.

    An empty cell of the CSV is a value that the image has not, or an empty text.
    """
    write_chunks_atomic(folder.path / IMAGES_CSV, _csv(columns, rows_of(folder, columns)))
    if find_spec("pyarrow"):
        write_bytes_atomic(folder.path / IMAGES_PARQUET, _parquet(columns, rows_of(folder, columns)))


def rows_of(folder: RunFolder[Any], columns: Sequence[RecordColumn]) -> Iterator[list[Any]]:
    """Yield the values of each image, in the order of the columns."""
    for record in folder.iterate():
        yield values_of(record, folder.manifest, columns)


def values_of(record: BaseRecord, manifest: Mapping[str, Any], columns: Sequence[RecordColumn]) -> list[Any]:
    """Take the values of an image. Names of files that are no text are written out, since no table can hold them."""
    found = [column.value(record, manifest) for column in columns]
    return [v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for v in found]


def _some(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield some


def _csv(columns: Sequence[RecordColumn], rows: Iterator[list[Any]]) -> Iterator[bytes]:
    yield csv_lines([[column.key for column in columns]]).encode()
    yield from (csv_lines(some).encode() for some in _some(rows))


def _parquet(columns: Sequence[RecordColumn], rows: Iterator[list[Any]]) -> memoryview:
    import pyarrow
    from pyarrow import parquet

    types = {"text": "string", "integer": "int64", "number": "float64", "boolean": "bool_"}
    schema = pyarrow.schema([(column.key, getattr(pyarrow, types[column.kind])()) for column in columns])
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, schema) as writer:
        for some in _some(rows):
            named = [dict(zip(schema.names, row, strict=True)) for row in some]
            writer.write_table(pyarrow.Table.from_pylist(named, schema))
    return buffer.getbuffer()
