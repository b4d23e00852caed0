"""Expander: expand the attachments of records into pages."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from classer_core.contents import TEXT_PLACE, Attachment, Content, Page, PixelNeeds, Pixels
from classer_core.documents.expanded import Expanded, ExpandRequest, Image
from classer_core.documents.office import Office
from classer_core.documents.sandbox import Sandbox
from classer_core.errors import FailureCode, JobError, RecordError
from classer_core.extras import missing_extra
from classer_core.records import Record


class Expander:
    """Expands the attachments of records. Thread-safe.

    Args:
        pixel_needs: pages and pictures that the visual model needs as pixels.
        truncate: whether the first pages of a long document are read; otherwise long documents fail.
        sandbox: the processes that parse.
        office: LibreOffice, which draws DOCX pages where it is installed.

    Raises:
        JobError: the libraries that parse documents are not installed.
    """

    def __init__(
        self,
        pixel_needs: PixelNeeds,
        truncate: bool = False,
        sandbox: Sandbox | None = None,
        office: Office | None = None,
    ) -> None:
        if problem := missing_extra("file", "", "documents"):
            raise JobError([problem])
        self._pixel_needs = pixel_needs
        self._truncate = truncate
        self._sandbox = sandbox or Sandbox()
        self._office = office or Office()

    def expand(self, records: Sequence[Record]) -> list[Content | RecordError]:
        """Return the pages of each record, its own text first; the first error of a record that can't be expanded."""
        answers = iter(self._answers([attachment for record in records for attachment in record.attachments]))
        contents: list[Content | RecordError] = []
        for record in records:
            pages = [Page(TEXT_PLACE, record.text)] if record.text else []
            coverage = 1.0
            error: RecordError | None = None
            for attachment in record.attachments:
                answer = next(answers)
                if isinstance(answer, RecordError):
                    error = error or _named(answer, attachment)
                else:
                    pages += _pages(attachment, answer)
                    coverage = min(coverage, answer.coverage)
            contents.append(error or Content(pages, coverage))
        return contents

    def close(self) -> None:
        """End the sandboxed processes."""
        self._sandbox.close()

    def _answers(self, attachments: Sequence[Attachment]) -> list[Expanded | RecordError]:
        office = self._office.is_installed
        tasks = [(_data(item), self._request(item, office)) for item in attachments]
        answers = self._sandbox.expand(tasks)
        undrawn = [n for n, answer in enumerate(answers) if isinstance(answer, Expanded) and answer.undrawn]
        if undrawn:
            drawn = self._draw([attachments[n] for n in undrawn])
            for position, answer in zip(undrawn, drawn, strict=True):
                answers[position] = answer
        return answers

    def _draw(self, attachments: Sequence[Attachment]) -> list[Expanded | RecordError]:
        """Return DOCX attachments with pages drawn by LibreOffice; drawn as HTML if LibreOffice fails."""
        pdfs = self._office.to_pdf([_data(item) for item in attachments])
        return self._sandbox.expand(
            [(pdf or _data(item), self._request(item)) for pdf, item in zip(pdfs, attachments, strict=True)]
        )

    def _request(self, attachment: Attachment, office: bool = False) -> ExpandRequest:
        return ExpandRequest(
            attachment.field, self._pixel_needs.pages, self._pixel_needs.side_px, self._truncate, 0.0, office
        )


def expanded_texts(records: Sequence[Record]) -> list[str]:
    """Return all text of each record, attachments included; an empty text if a document can't be expanded."""
    texts = [record.text for record in records]
    attached = [position for position, record in enumerate(records) if record.attachments]
    if attached:
        with contextlib.closing(Expander(PixelNeeds.nothing(), truncate=True)) as expander:
            contents = expander.expand([records[position] for position in attached])
        for position, content in zip(attached, contents, strict=True):
            pages = [] if isinstance(content, RecordError) else content.pages
            texts[position] = "\n".join(page.text for page in pages).strip()
    return texts


def _data(attachment: Attachment) -> bytes:
    if attachment.data is None:
        raise ValueError(f"{attachment.place} has not been fetched: fetch it before it is expanded")
    return attachment.data


def _pages(attachment: Attachment, expanded: Expanded) -> list[Page]:
    if attachment.field == "image":
        return [Page(attachment.place, page.text, _pixels(page.image)) for page in expanded.pages]
    return [
        Page(f"page {number}", page.text, _pixels(page.image)) for number, page in enumerate(expanded.pages, start=1)
    ]


def _pixels(image: Image | None) -> Pixels | None:
    if image is None:
        return None
    return np.frombuffer(image.rgb, dtype=np.uint8).reshape(image.height, image.width, 3)


def _named(error: RecordError, attachment: Attachment) -> RecordError:
    code = error.code
    # Report an unsupported file given as `image` as an unsupported image.
    if attachment.field == "image" and code == FailureCode.DOCUMENT_UNSUPPORTED:
        code = FailureCode.IMAGE_UNSUPPORTED
    return RecordError(code, f"{attachment.place}: {error.message}", attachment.field)
