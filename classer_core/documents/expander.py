"""Expander: expand the attachments of records into pages."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from classer_core.contents import Attachment, Content, Page, PixelNeeds, Pixels
from classer_core.documents.expanded import Expanded, Image, Wanted
from classer_core.documents.office import Office
from classer_core.documents.sandbox import Sandbox
from classer_core.errors import FailureCode, RecordError
from classer_core.records import Record


class Expander:
    """Expands what records have attached. Safe to be used by several threads.

    Args:
        look: what the visual model wants to see.
        truncate: whether a long document is read up to the limit, instead of failing.
    """

    def __init__(
        self,
        pixel_needs: PixelNeeds,
        truncate: bool = False,
        sandbox: Sandbox | None = None,
        office: Office | None = None,
    ) -> None:
        self._pixel_needs = pixel_needs
        self._truncate = truncate
        self._sandbox = sandbox or Sandbox()
        self._office = office or Office()

    def expand(self, records: Sequence[Record]) -> list[Content | RecordError]:
        """Each record's text, pictures and pages, or why one of them can't be had."""
        answers = iter(self._answers([attachment for record in records for attachment in record.attachments]))
        contents: list[Content | RecordError] = []
        for record in records:
            pages = [Page("text", record.text)] if record.text else []
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
        """Ends the sandbox's processes."""
        self._sandbox.close()

    def _answers(self, attachments: Sequence[Attachment]) -> list[Expanded | RecordError]:
        office = self._office.is_installed
        tasks = [(_data(item), self._wanted(item, office)) for item in attachments]
        answers = self._sandbox.expand(tasks)
        undrawn = [n for n, answer in enumerate(answers) if isinstance(answer, Expanded) and answer.undrawn]
        if undrawn:
            drawn = self._draw([attachments[n] for n in undrawn])
            for position, answer in zip(undrawn, drawn, strict=True):
                answers[position] = answer
        return answers

    def _draw(self, attachments: Sequence[Attachment]) -> list[Expanded | RecordError]:
        """DOCX attachments by way of LibreOffice's PDF; by way of HTML where it makes none."""
        pdfs = self._office.to_pdf([_data(item) for item in attachments])
        return self._sandbox.expand(
            [(pdf or _data(item), self._wanted(item)) for pdf, item in zip(pdfs, attachments, strict=True)]
        )

    def _wanted(self, attachment: Attachment, office: bool = False) -> Wanted:
        return Wanted(attachment.field, self._pixel_needs.pages, self._pixel_needs.side_px, self._truncate, 0.0, office)


def expanded_texts(records: Sequence[Record]) -> list[str]:
    """All text of each record, attachments included; empty where there is none, or a document can't be opened."""
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
        raise ValueError(f"{attachment.place} has not been fetched")
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
    # What is no document at all is, as an image, no image.
    if attachment.field == "image" and code == FailureCode.DOCUMENT_UNSUPPORTED:
        code = FailureCode.IMAGE_UNSUPPORTED
    return RecordError(code, f"{attachment.place}: {error.message}", attachment.field)
