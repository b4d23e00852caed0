"""Avro container files: read block by block, from any place of a file."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import fastavro
import pyarrow as pa

from pipelines.chunks import CHUNK_BYTES, CHUNK_ROWS, SourceChunk, empty_rows
from pipelines.damage import DamagedFileError, decoding
from pipelines.readers import Columns, Part, file_failure
from pipelines.readers.arrow import check_width
from pipelines.readers.avro_types import arrow_schema
from pipelines.readers.nested import value_at
from pipelines.readers.typing import RESCUED, fit_columns

PART_BYTES = 64 << 20
READ_BYTES = 1 << 20
# Of one block, as it is in the file and decompressed. Writers make blocks of 16 KB to some megabytes; a document of
# 50 MiB as base64 has room.
MAX_BLOCK_BYTES = 72 << 20
MAX_HEADER_BYTES = 16 << 20
MAGIC, SYNC_BYTES = b"Obj\x01", 16
HEADER_SCHEMA = {
    "type": "record",
    "name": "header",
    "fields": [
        {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
        {"name": "meta", "type": {"type": "map", "values": "bytes"}},
        {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": SYNC_BYTES}},
    ],
}
# What fastavro raises for content that does not fit its schema.
_BY_FASTAVRO = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, EOFError)


class AvroReader:
    """Reads Avro container files; big ones in parts. A block belongs to the part in which the marker before it starts.

    Source: Avro 1.12 specification, object container files.
    """

    def schema(self, file: BinaryIO) -> pa.Schema:
        """Return the columns of the file's schema, and `_rescued_data` for what other files have."""
        with decoding(file):
            return _read_header(file).columns.append(pa.field(RESCUED, pa.string()))

    def parts(self, path: str, size_bytes: int) -> list[Part]:
        """Return ranges of bytes."""
        return [Part(start, start + PART_BYTES) for start in range(0, max(size_bytes, 1), PART_BYTES)]

    def read(self, file: BinaryIO, part: Part, columns: Columns, name: str) -> Iterator[SourceChunk]:
        """Yield the rows of the part's blocks; positions are the byte of the block, and the row within it."""
        rows: list[dict[str, Any]] = []
        positions: list[str] = []
        size = count = 0
        try:
            with decoding(file):
                header = _read_header(file)
                for offset, number, content in _blocks(file, header, part):
                    data = io.BytesIO(content)
                    for row in range(1, number + 1):
                        before = data.tell()
                        rows.append(_decoded(data, header.schema))
                        positions.append(f"{name}@{offset}#{row}")
                        count, size = count + 1, size + data.tell() - before
                        if len(rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                            yield _chunk(rows, positions, columns)
                            rows, positions, size = [], [], 0
        except DamagedFileError as error:
            if rows:
                yield _chunk(rows, positions, columns)
            failure = file_failure(name, error, f" after {count} rows" if count else "")
            yield SourceChunk([], {}, empty_rows(columns.passed), [failure])
            return
        if rows:
            yield _chunk(rows, positions, columns)


class _Header(NamedTuple):
    """The start of a file: its schema as fastavro takes it, and as columns; how blocks are compressed; their marker."""

    schema: Any
    columns: pa.Schema
    codec: str
    sync: bytes
    end: int


def _read_header(file: BinaryIO) -> _Header:
    start = io.BytesIO(file.read(READ_BYTES))
    if start.read(len(MAGIC)) != MAGIC:
        raise pa.ArrowInvalid("it does not begin as an Avro container file does")
    start.seek(0)
    try:
        header: Any = _decoded(start, HEADER_SCHEMA)
    except pa.ArrowInvalid:  # a long schema
        start = io.BytesIO(start.getvalue() + file.read(MAX_HEADER_BYTES))
        header = _decoded(start, HEADER_SCHEMA)
    try:
        document = json.loads(header["meta"]["avro.schema"])
        columns = arrow_schema(document)
        schema = fastavro.parse_schema(document)
    except (*_BY_FASTAVRO, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
        raise pa.ArrowInvalid(f"its schema can't be used: {error}") from error
    check_width(len(columns))
    codec = header["meta"].get("avro.codec", b"null").decode()
    if codec not in _DECOMPRESS:
        raise pa.ArrowInvalid(f"its blocks are compressed with {codec!r}; known: {', '.join(_DECOMPRESS)}")
    return _Header(schema, columns, codec, header["sync"], start.tell())


def _blocks(file: BinaryIO, header: _Header, part: Part) -> Iterator[tuple[int, int, bytes]]:
    """Yield (offset, number of rows, decompressed content) of the blocks of a part."""
    offset = header.end
    if part.start > header.end - SYNC_BYTES:
        found = _find_marker(file, header.sync, part.start)
        if found is None:
            return
        offset = found + SYNC_BYTES
    file.seek(offset)
    while part.end is None or offset - SYNC_BYTES < part.end:
        number = _read_long(file)
        if number is None:
            return
        size = _read_long(file)
        if number < 0 or size is None or not 0 <= size <= MAX_BLOCK_BYTES:
            raise pa.ArrowInvalid(f"its block at byte {offset} has {number} rows in {size} bytes")
        content = file.read(size)
        if len(content) < size or file.read(SYNC_BYTES) != header.sync:
            raise pa.ArrowInvalid(f"its block at byte {offset} is cut short, or overwritten")
        yield offset, number, _decompressed(content, header.codec)
        offset = file.tell()


def _find_marker(file: BinaryIO, sync: bytes, start: int) -> int | None:
    """Return where the first marker begins from `start` on."""
    file.seek(start)
    held, offset = b"", start
    while block := file.read(READ_BYTES):
        held += block
        if (found := held.find(sync)) >= 0:
            return offset + found
        kept = held[-(SYNC_BYTES - 1) :]
        offset += len(held) - len(kept)
        held = kept
    return None


def _read_long(file: BinaryIO) -> int | None:
    """Return a number as Avro writes it; None at the end of the file."""
    value = _read_varint(file)
    return None if value is None else (value >> 1) ^ -(value & 1)


def _read_varint(file: BinaryIO) -> int | None:
    """Return a number of variable length, its lowest seven bits first; None at the end of the file."""
    value = shift = 0
    while byte := file.read(1):
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            return value
        if shift > 63:
            raise pa.ArrowInvalid("it has a number of more than 64 bits")
    if shift:
        raise pa.ArrowInvalid("it is cut short")
    return None


def _decoded(data: io.BytesIO, schema: Any) -> Any:
    try:
        # A string that is not UTF-8 is the trouble of its own record.
        return fastavro.schemaless_reader(data, schema, None, handle_unicode_errors="surrogateescape")
    except _BY_FASTAVRO as error:
        raise pa.ArrowInvalid(f"its content does not fit its schema: {type(error).__name__}: {error}") from error


def _decompressed(content: bytes, codec: str) -> bytes:
    data = _DECOMPRESS[codec](content)
    if len(data) > MAX_BLOCK_BYTES:
        raise pa.ArrowInvalid(f"it has a block of more than {MAX_BLOCK_BYTES:,} bytes")
    return data


def _snappy(content: bytes) -> bytes:
    """Return a block without the checksum that Avro puts behind it."""
    size = _read_varint(io.BytesIO(content))
    if size is None or size > MAX_BLOCK_BYTES:
        raise pa.ArrowInvalid(f"it has a block of more than {MAX_BLOCK_BYTES:,} bytes")
    return bytes(pa.Codec("snappy").decompress(content[:-4], size, asbytes=True))


# Each gives one byte more than allowed of a block that is too large, and stops there.
_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "null": lambda content: content,
    "deflate": lambda content: zlib.decompressobj(-15).decompress(content, MAX_BLOCK_BYTES + 1),
    "bzip2": lambda content: bz2.BZ2Decompressor().decompress(content, MAX_BLOCK_BYTES + 1),
    "xz": lambda content: lzma.LZMADecompressor().decompress(content, MAX_BLOCK_BYTES + 1),
    "zstandard": lambda content: pa.CompressedInputStream(pa.BufferReader(content), "zstd").read(MAX_BLOCK_BYTES + 1),
    "snappy": _snappy,
}


def _chunk(rows: list[dict[str, Any]], positions: list[str], columns: Columns) -> SourceChunk:
    paths = {field: columns.path_of(column) for field, column in columns.fields.items()}
    fields = {field: [value_at(row, path) for row in rows] for field, path in paths.items()}
    return SourceChunk(positions, fields, fit_columns(rows, columns.passed, columns.fields.values()))
