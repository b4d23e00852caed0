"""The sandboxed process: answers the requests on standard input until it is closed or killed.

python -m classer_core.documents.child MEMORY_BYTES
"""

from __future__ import annotations

import math
import os
import resource
import sys
from pathlib import Path
from typing import Any

from classer_core.documents.docx import read_docx
from classer_core.documents.expanded import Expanded, ExpandError, ExpandRequest, pack, receive, send
from classer_core.documents.kinds import kind_of
from classer_core.documents.pdf import read_pdf
from classer_core.documents.pictures import read_picture
from classer_core.errors import FailureCode


def expand(data: bytes, request: ExpandRequest) -> Expanded:
    """Return the pages of a document or picture.

    Args:
        data: the file.
        request: how to expand it.

    Raises:
        ExpandError: the file is empty, encrypted, unsupported, damaged or too large.
    """
    kind = kind_of(data)
    if kind == "empty":
        raise ExpandError(FailureCode.DOCUMENT_EMPTY, f"the file is empty or blank: {len(data)} bytes")
    if kind == "encrypted":
        raise ExpandError(FailureCode.DOCUMENT_ENCRYPTED, "the document needs a password: remove it and try again")
    if kind in ("office", "zip", "svg"):
        message = f"PDF, DOCX and pictures are supported, this is {_KINDS[kind]}"
        raise ExpandError(FailureCode.DOCUMENT_UNSUPPORTED, message)
    if kind == "pdf":
        return read_pdf(data, request)
    if kind == "docx":
        return read_docx(data, request)
    return read_picture(data, request)


_KINDS = {"office": "another Office file (save it as .docx or .pdf)", "zip": "a zip archive", "svg": "SVG"}


def main() -> None:
    """Answer requests until standard input ends."""
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Output that libraries print must not mix with the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while (message := receive(requests)) is not None:
        header, [data] = message
        answer, blobs = _answer(data, header)
        send(answers, {**answer, "is_grown": _address_space() > memory // 2}, blobs)


def _address_space() -> int:
    """Return the process's address space in bytes, as the memory limit counts it. It grows as parsers leak memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0  # systems without /proc do not enforce the limit, either


def _answer(data: bytes, header: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    request = ExpandRequest(**{name: header[name] for name in ExpandRequest.__slots__})
    # The parent enforces the time limit; this one ends a process whose parent is gone.
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + request.timeout_s) + 1, resource.RLIM_INFINITY))
    try:
        return pack(expand(data, request))
    except ExpandError as error:
        return {"code": error.code, "message": error.message}, []
    except MemoryError:
        return {"code": FailureCode.DOCUMENT_MEMORY, "message": "expanding the document takes too much memory"}, []
    except Exception as error:
        # Parsers raise arbitrary exceptions on damaged documents.
        message = f"the parser failed: {type(error).__name__}: {str(error)[:200]}"
        return {"code": FailureCode.DOCUMENT_DAMAGED, "message": message}, []


if __name__ == "__main__":
    main()
