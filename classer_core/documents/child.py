"""The sandboxed process: reads questions from standard input and answers them until it is closed or killed.

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
from classer_core.documents.expanded import Expanded, ExpandError, Wanted, pack, receive, send
from classer_core.documents.kinds import kind_of
from classer_core.documents.pdf import read_pdf
from classer_core.documents.pictures import read_picture
from classer_core.errors import FailureCode


def expand(data: bytes, wanted: Wanted) -> Expanded:
    """Expand bytes into pages.

    Raises:
        ExpandError: they are no document or picture that can be expanded.
    """
    kind = kind_of(data)
    if kind == "empty":
        raise ExpandError(FailureCode.DOCUMENT_EMPTY, f"there is nothing in it: {len(data)} bytes")
    if kind == "encrypted":
        raise ExpandError(FailureCode.DOCUMENT_ENCRYPTED, "the document needs a password: remove it and try again")
    if kind in ("office", "zip", "svg"):
        message = f"it is neither PDF, DOCX nor a picture, but {_KINDS[kind]}"
        raise ExpandError(FailureCode.DOCUMENT_UNSUPPORTED, message)
    if kind == "pdf":
        return read_pdf(data, wanted)
    if kind == "docx":
        return read_docx(data, wanted)
    return read_picture(data, wanted)


_KINDS = {"office": "another Office file (save it as .docx or .pdf)", "zip": "a zip archive", "svg": "SVG"}


def main() -> None:
    """Answers until standard input ends."""
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Libraries that print must not garble the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while (message := receive(questions)) is not None:
        header, [data] = message
        answer, blobs = _answer(data, header)
        send(answers, {**answer, "is_grown": _address_space() > memory // 2}, blobs)


def _address_space() -> int:
    """Bytes, as the limit counts them: parsers' small leaks add up, and the next document needs room."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0  # neither does the limit hold there


def _answer(data: bytes, header: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    wanted = Wanted(**{name: header[name] for name in Wanted.__slots__})
    # A second line of defence: a process that nobody watches any more dies of this.
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + wanted.timeout_s) + 1, resource.RLIM_INFINITY))
    try:
        return pack(expand(data, wanted))
    except ExpandError as error:
        return {"code": error.code, "message": error.message}, []
    except MemoryError:
        return {"code": FailureCode.DOCUMENT_MEMORY, "message": "expanding it takes too much memory"}, []
    except Exception as error:
        # A parser's surprise is this document's failure.
        message = f"the parser gave up: {type(error).__name__}: {str(error)[:200]}"
        return {"code": FailureCode.DOCUMENT_DAMAGED, "message": message}, []


if __name__ == "__main__":
    main()
