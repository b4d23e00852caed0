"""CombinedModel: a text model and a visual model that score contents together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from classer_core.classifiers import Classifier
from classer_core.contents import TEXT_PLACE, Content, Page, Pixels
from classer_core.errors import FailureCode, RecordError
from classer_core.models import Model, Scores
from classer_core.models.document_kinds import DocumentKinds
from classer_core.models.visual import Values, VisualModel

# A page whose pixel values differ by less than this is blank.
BLANK_RANGE = 8


class CombinedModel:
    """Scores contents by their text and their pixels.

    Args:
        text: scores texts.
        visual: reads and scores pictures; None to ignore pixels.
        kinds: scores labels by the kind of a document; None to judge documents by what they are about.
    """

    def __init__(self, text: Model, visual: VisualModel | None = None, kinds: DocumentKinds | None = None) -> None:
        self.text = text
        self.visual = visual
        self.kinds = kinds

    def id_for(self, scores: Scores) -> str:
        """Return the ids of the models that made these scores: the text model, and the visual one if it was used."""
        text_id = scores.model or self.text.id
        if scores.visual_tokens is None or self.visual is None:
            return text_id
        return f"{text_id}+{self.visual.id}"

    def score(self, contents: Sequence[Content], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """Return the scores of each content for the classifier at the same position, as `Model.score` does.

        `strongest` of the scores is the position of the page that speaks most for the best label.
        """
        n_pictures = [_pictures_in(content) if self.visual is not None else 0 for content in contents]
        contents = self._read_pictures(contents)
        parts = [[n for n, page in enumerate(content.pages) if page.text.strip()] for content in contents]
        with_text = [n for n, positions in enumerate(parts) if positions]
        texts = [[contents[n].pages[position].text for position in parts[n]] for n in with_text]
        text_scores = dict(zip(with_text, self._score_texts(texts, [classifiers[n] for n in with_text]), strict=True))
        self._judge_kinds(contents, classifiers, text_scores)
        picture_scores = self._score_pictures(contents, classifiers)
        outcomes: list[Scores | RecordError] = []
        for n in range(len(contents)):
            scores = text_scores.get(n)
            if isinstance(scores, Scores):
                scores.strongest = parts[n][scores.strongest]
            if isinstance(scores, RecordError):
                outcomes.append(scores)
            elif n in picture_scores:
                outcomes.append(_combined(scores, picture_scores[n]))
            elif scores is None:
                outcomes.append(self._empty())
            else:
                # Pictures that were only read by OCR cost no image tokens.
                scores.visual_tokens = 0 if n_pictures[n] else None
                outcomes.append(scores)
        return outcomes

    def _score_texts(self, texts: list[list[str]], classifiers: list[Classifier]) -> Sequence[Scores | RecordError]:
        return self.text.score(texts, classifiers) if texts else []

    def _judge_kinds(
        self,
        contents: Sequence[Content],
        classifiers: Sequence[Classifier],
        text_scores: Mapping[int, Scores | RecordError],
    ) -> None:
        """Let the kinds of documents change their scores. A record's own text is not a document."""
        scored = [(n, scores) for n, scores in text_scores.items() if isinstance(scores, Scores)]
        documents = [(scores, n, pages) for n, scores in scored if (pages := _attached_texts(contents[n]))]
        if self.kinds is None or not documents:
            return
        values = [scores.values for scores, _, _ in documents]
        of_documents = [classifiers[n] for _, n, _ in documents]
        rescored = self.kinds.rescore(values, [pages for _, _, pages in documents], of_documents)
        for (scores, _, _), logits in zip(documents, rescored, strict=True):
            scores.values = logits

    def _read_pictures(self, contents: Sequence[Content]) -> Sequence[Content]:
        """Return the contents with the text in pictures added to the text of their pages."""
        pictures = [page.pixels for content in contents for page in content.pages if page.pixels is not None]
        if self.visual is None or not pictures:
            return contents
        texts = iter(self.visual.read(pictures))
        return [
            replace(
                content,
                pages=[page if page.pixels is None else _with_text(page, next(texts)) for page in content.pages],
            )
            for content in contents
        ]

    def _score_pictures(
        self, contents: Sequence[Content], classifiers: Sequence[Classifier]
    ) -> dict[int, _PictureScores]:
        """Return the scores of pictures, by position of the content; contents without pictures to score are absent."""
        if self.visual is None:
            return {}
        scored_pages: dict[int, tuple[list[int], float]] = {}
        pictures: list[Pixels] = []
        picture_classifiers: list[Classifier] = []
        for n, content in enumerate(contents):
            share = self.visual.share(sum(len(page.text.strip()) for page in content.pages))
            pages = _pages_to_score(content.pages) if share else []
            if pages:
                scored_pages[n] = pages, share
                pictures += [pixels for position in pages if (pixels := content.pages[position].pixels) is not None]
                picture_classifiers += [classifiers[n]] * len(pages)
        values = iter(self.visual.score(pictures, picture_classifiers)) if pictures else iter(())
        tokens = self.visual.tokens_a_picture
        return {
            n: _PictureScores(pages, [next(values) for _ in pages], share, tokens * len(pages))
            for n, (pages, share) in scored_pages.items()
        }

    def _empty(self) -> RecordError:
        if self.visual is None:
            remedy = "set visual_model to embedded, or to an image-text model"
            return RecordError(FailureCode.NEEDS_VISUAL_MODEL, f"it has no text, and visual_model is none: {remedy}")
        return RecordError(FailureCode.DOCUMENT_EMPTY, "it contains neither text nor a picture that can be scored")


class _PictureScores(NamedTuple):
    """Scores of the pictures of one content.

    Attributes:
        pages: positions of the pages scored.
        values: (n_labels,) logits of each of these pages.
        share: weight of the pictures beside the text, 0-1.
        tokens: image tokens of these pages.
    """

    pages: list[int]
    values: list[Values]
    share: float
    tokens: int


def _attached_texts(content: Content) -> list[str]:
    return [page.text for page in content.pages if page.place != TEXT_PLACE and page.text.strip()]


def _pictures_in(content: Content) -> int:
    return sum(page.pixels is not None for page in content.pages)


def _with_text(page: Page, text: str) -> Page:
    return replace(page, text=f"{page.text}\n{text}" if page.text.strip() else text)


def _pages_to_score(pages: Sequence[Page]) -> list[int]:
    """Return the positions of pages that are not blank; the first page if all are blank and none has text."""
    with_pixels = [position for position, page in enumerate(pages) if page.pixels is not None]
    not_blank = [position for position in with_pixels if not _is_blank(pages[position].pixels)]
    if not_blank or any(page.text.strip() for page in pages):
        return not_blank
    return with_pixels[:1]


def _is_blank(pixels: Pixels | None) -> bool:
    return pixels is None or int(pixels.max()) - int(pixels.min()) < BLANK_RANGE


def _combined(text: Scores | None, pictures: _PictureScores) -> Scores:
    """Return the weighted mean of the logits of text and pictures: a product of their probabilities."""
    share = pictures.share
    picture_values = np.mean(pictures.values, axis=0)
    values = picture_values if text is None else (1 - share) * text.values + share * picture_values
    best = int(values.argmax())
    contributions = [share / len(pictures.pages) * float(row[best] - row.mean()) for row in pictures.values]
    strongest = pictures.pages[int(np.argmax(contributions))]
    if text is not None and (1 - share) * float(text.values[best] - text.values.mean()) > max(contributions):
        strongest = text.strongest
    tokens = pictures.tokens + (text.tokens if text is not None else 0)
    model = text.model if text is not None else None
    return Scores(np.asarray(values, np.float32), tokens, strongest, pictures.tokens, model)
