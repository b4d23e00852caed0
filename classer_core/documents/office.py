"""Convert DOCX to PDF with LibreOffice where it is installed, many documents per call; pages are as printed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

# A call takes a second to start, and 0.3 s per document.
DOCUMENTS_PER_CALL = 16
TIMEOUT_S = 60.0
MEMORY_KIB = 4 << 20
# Switches off macros, links and external pictures: LibreOffice would otherwise fetch what a document refers to.
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks"
 oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution"
 oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel"
 oor:op="fuse"><value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link" oor:op="fuse">
<value>0</value></prop></item>
</oor:items>
"""


class Office:
    """LibreOffice with a profile of its own, one call at a time. Thread-safe.

    Args:
        timeout_s: wall-clock seconds that a call may take.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._program = shutil.which("soffice") or shutil.which("libreoffice")
        self._timeout_s = timeout_s
        self._lock = threading.Lock()

    @property
    def is_installed(self) -> bool:
        """Return whether LibreOffice is on the PATH."""
        return self._program is not None

    def to_pdf(self, documents: Sequence[bytes]) -> list[bytes | None]:
        """Return a PDF per DOCX file; None if LibreOffice can't convert it.

        If a call crashes or exceeds its time, the documents that it has not converted are tried again one by one.
        """
        converted: list[bytes | None] = []
        for start in range(0, len(documents), DOCUMENTS_PER_CALL):
            batch = documents[start : start + DOCUMENTS_PER_CALL]
            pdfs, finished = self._call(batch)
            if not finished and len(batch) > 1:
                pdfs = [pdf or self._call([data])[0][0] for pdf, data in zip(pdfs, batch, strict=True)]
            converted += pdfs
        return converted

    def _call(self, documents: Sequence[bytes]) -> tuple[list[bytes | None], bool]:
        """Return the PDFs of one call, and whether it succeeded."""
        with self._lock, tempfile.TemporaryDirectory(prefix="classer-office-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            profile = folder / "profile" / "user"
            profile.mkdir(parents=True)
            (profile / "registrymodifications.xcu").write_text(PROFILE)
            inputs = []
            for number, data in enumerate(documents):
                inputs.append(folder / f"{number}.docx")
                inputs[-1].write_bytes(data)
            finished = self._run(folder, inputs)
            return [_content(path.with_suffix(".pdf")) for path in inputs], finished

    def _run(self, folder: Path, inputs: Sequence[Path]) -> bool:
        assert self._program is not None
        command = [
            *("sh", "-c", 'ulimit -v "$0"; ulimit -c 0; exec "$@"', str(MEMORY_KIB)),
            *(self._program, f"-env:UserInstallation={(folder / 'profile').as_uri()}"),
            *("--headless", "--norestore", "--nolockcheck", "--nodefault"),
            *("--convert-to", "pdf:writer_pdf_Export", "--outdir", str(folder), *map(str, inputs)),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # The environment of the job, which may contain secrets, is not passed on.
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "TMPDIR": str(folder)},
            start_new_session=True,
        )
        try:
            return process.wait(self._timeout_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            # The program starts others, which go on unless the whole process group is killed.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes() or None
    except OSError:
        return None
