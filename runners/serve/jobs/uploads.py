"""Uploads: forms as S3 takes them, their file streamed to disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from runners.serve.bodies import chunks, content_length
from runners.serve.errors import ApiError, too_large, unavailable

MAX_FILE_BYTES = 5 << 30
# Boundaries, headers of parts, and the fields beside the file.
MAX_FORM_BYTES = 64 << 10
WRITTEN_BYTES = 1 << 20


async def receive_upload(request: Request, target: Path, check: Callable[[Mapping[str, str]], None]) -> tuple[int, int]:
    """Write the file of a form to `target`, whole or not at all.

    Args:
        request: the request, whose body has not been read.
        target: the file to write.
        check: looks at the other fields of the form before the file gets its name; what it raises is the answer.

    Returns:
        The size of the file in bytes, and about how many lines it has.

    Raises:
        ApiError: 400 it is not a form with a `file`, 408 the client is too slow, 413 it is too large, 503 the disk is
            full.
        ClientGoneError: the client has gone.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError(400, "BAD_REQUEST", "The body must be multipart/form-data, with the file in `file`")
    if (content_length(request) or 0) > MAX_FILE_BYTES + MAX_FORM_BYTES:
        raise too_large(MAX_FILE_BYTES)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            form = _Form(boundary, file)
            async for chunk in chunks(request):
                await form.feed(chunk)
            await form.finish()
        check(form.fields)
        part.replace(target)
    except OSError as error:
        raise unavailable(f"The file can't be stored: {error.strerror}", 60) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return form.size, form.lines


class _Form:
    """A multipart form that is fed as it comes."""

    def __init__(self, boundary: bytes, file: BinaryIO) -> None:
        self.fields: dict[str, str] = {}
        self.size = self.lines = 0
        self._file = file
        self._has_file = self._is_complete = False
        self._name = ""
        self._header = self._disposition = b""
        self._value = b""
        self._value_of_header = b""
        self._form_bytes = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._ends_open = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._on_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    async def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise ApiError(400, "BAD_REQUEST", f"The form is broken: {error}") from None
        if self.size > MAX_FILE_BYTES or self._form_bytes > MAX_FORM_BYTES:
            raise too_large(MAX_FILE_BYTES)
        if self._waiting_bytes >= WRITTEN_BYTES:
            await self._flush()

    async def finish(self) -> None:
        if not self._is_complete or not self._has_file:
            raise ApiError(400, "BAD_REQUEST", "The form has no `file`, or ends too early")
        self.lines += self._ends_open
        await self._flush()
        await asyncio.to_thread(os.fsync, self._file.fileno())

    async def _flush(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        await asyncio.to_thread(self._write, waiting)

    def _write(self, parts: list[bytes]) -> None:
        self._file.writelines(parts)
        self._file.flush()

    def _begin_part(self) -> None:
        self._name, self._value, self._disposition = "", b"", b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._form_bytes += end - start

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value_of_header += data[start:end]
        self._form_bytes += end - start

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value_of_header
        self._header = self._value_of_header = b""

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self._has_file:
                raise ApiError(400, "BAD_REQUEST", "The form has two files")
            self._has_file = True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        content = data[start:end]
        if self._name != "file":
            self._value += content
            self._form_bytes += len(content)
            return
        self._waiting.append(content)
        self._waiting_bytes += len(content)
        self.size += len(content)
        self.lines += content.count(b"\n")
        self._ends_open = not content.endswith(b"\n")

    def _end_part(self) -> None:
        if self._name and self._name != "file":
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._is_complete = True
