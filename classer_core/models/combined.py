"""A text model and a visual one as a whole: contents in, one set of scores each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.contents import Content, Page, Pixels
from classer_core.errors import FailureCode, RecordError
from classer_core.models import Model, Scores
from classer_core.models.visual import Values, VisualModel

# Pixels of a page that differ less than this are paper.
BLANK_RANGE = 8


class CombinedModel:
    """Scores contents by their text and by their looks.

    Args:
        text: reads text.
        visual: looks at pixels; None if pixels are not looked at.
    """

    def __init__(self, text: Model, visual: VisualModel | None = None) -> None:
        self.text = text
        self.visual = visual

    def id_for(self, scores: Scores) -> str:
        """The models that made these scores: the text model, and the visual one if pixels were looked at."""
        if scores.visual_tokens is None or self.visual is None:
            return self.text.id
        return f"{self.text.id}+{self.visual.id}"

    def score(self, contents: Sequence[Content], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Scores of each content for the classifier at the same position; see `Model.score`.

        `strongest` of the scores is the position of the page that weighed most.
        """
        read_pictures = [_pictures_in(content) if self.visual is not None else 0 for content in contents]
        contents = self._read_pictures(contents)
        parts = [[n for n, page in enumerate(content.pages) if page.text.strip()] for content in contents]
        with_text = [n for n, positions in enumerate(parts) if positions]
        texts = [[contents[n].pages[position].text for position in parts[n]] for n in with_text]
        scored = dict(zip(with_text, self._score_texts(texts, [classifiers[n] for n in with_text]), strict=True))
        seen = self._score_pictures(contents, classifiers)
        outcomes: list[Scores | RecordError] = []
        for n, content in enumerate(contents):
            read = scored.get(n)
            if isinstance(read, Scores):
                read.strongest = parts[n][read.strongest]
            if isinstance(read, RecordError):
                outcomes.append(read)
            elif n in seen:
                outcomes.append(_combined(read, *seen[n]))
            elif read is None:
                outcomes.append(self._nothing(content))
            else:
                # Pictures whose words were read, and nothing else of them, cost no image tokens.
                read.visual_tokens = 0 if read_pictures[n] else None
                outcomes.append(read)
        return outcomes

    def _score_texts(self, texts: list[list[str]], classifiers: list[Classifier]) -> Sequence[Scores | RecordError]:
        return self.text.score(texts, classifiers) if texts else []

    def _read_pictures(self, contents: Sequence[Content]) -> Sequence[Content]:
        """The contents with what is written in pictures added to the text of their pages."""
        pictures = [page.pixels for content in contents for page in content.pages if page.pixels is not None]
        if self.visual is None or not pictures:
            return contents
        written = iter(self.visual.read(pictures))
        return [
            replace(
                content, pages=[page if page.pixels is None else _with(page, next(written)) for page in content.pages]
            )
            for content in contents
        ]

    def _score_pictures(
        self, contents: Sequence[Content], classifiers: Sequence[Classifier]
    ) -> dict[int, tuple[list[int], list[Values], float, int]]:
        """Position of a content -> its pages that were looked at, their scores, their share, image tokens."""
        if self.visual is None:
            return {}
        looked: list[tuple[int, list[int], float]] = []
        pictures: list[Pixels] = []
        wanted: list[Classifier] = []
        for n, content in enumerate(contents):
            share = self.visual.share(sum(len(page.text.strip()) for page in content.pages))
            shown = _worth_a_look(content.pages) if share else []
            if shown:
                looked.append((n, shown, share))
                pictures += [pixels for position in shown if (pixels := content.pages[position].pixels) is not None]
                wanted += [classifiers[n]] * len(shown)
        values = iter(self.visual.score(pictures, wanted)) if pictures else iter(())
        tokens = self.visual.tokens_a_picture
        return {n: (shown, [next(values) for _ in shown], share, tokens * len(shown)) for n, shown, share in looked}

    def _nothing(self, content: Content) -> RecordError:
        if self.visual is None:
            remedy = "set visual_model to embedded, or to an image-text model"
            return RecordError(FailureCode.NEEDS_VISUAL_MODEL, f"it has no text, and visual_model is none: {remedy}")
        return RecordError(FailureCode.DOCUMENT_EMPTY, "there is neither text in it nor anything to look at")


def _pictures_in(content: Content) -> int:
    return sum(page.pixels is not None for page in content.pages)


def _with(page: Page, written: str) -> Page:
    return replace(page, text=f"{page.text}\n{written}" if page.text.strip() else written)


def _worth_a_look(pages: Sequence[Page]) -> list[int]:
    """Positions of pages with something on them; if all of them are blank and without text, the first."""
    drawn = [position for position, page in enumerate(pages) if page.pixels is not None]
    marked = [position for position in drawn if not _is_blank(pages[position].pixels)]
    if marked or any(page.text.strip() for page in pages):
        return marked
    return drawn[:1]


def _is_blank(pixels: Pixels | None) -> bool:
    return pixels is None or int(pixels.max()) - int(pixels.min()) < BLANK_RANGE


def _combined(read: Scores | None, shown: list[int], values: list[Values], share: float, visual_tokens: int) -> Scores:
    """Text and looks as one: raw scores are logits on one scale, so that their mean is a product of probabilities."""
    looks = np.mean(values, axis=0)
    mixed = looks if read is None else (1 - share) * read.values + share * looks
    best = int(mixed.argmax())
    shares = [share / len(shown) * float(row[best] - row.mean()) for row in values]
    strongest = shown[int(np.argmax(shares))]
    if read is not None and (1 - share) * float(read.values[best] - read.values.mean()) > max(shares):
        strongest = read.strongest
    tokens = visual_tokens + (read.tokens if read is not None else 0)
    return Scores(np.asarray(mixed, np.float32), tokens, strongest, visual_tokens)
