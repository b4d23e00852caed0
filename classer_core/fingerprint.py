"""Fingerprints: records with the same fingerprint get the same answer. Defined in this module only.

    configuration  = SHA-256 of: SCORING_VERSION, calibration, the classifier's digest, reading settings (see below),
                     and the number of scores, if the answer lists any
    fingerprint    = the first 20 bytes of SHA-256 of: configuration, content

- The classifier's digest covers labels (in any order), descriptions, examples, text_type, mode, threshold, and the
  tuned head. Calibration is the digest of the fitted constants.
- The reading settings are the text model's id, which contains the digest of its weights and its number format; for
  records with attachments also the visual model's id, whether long documents are truncated, and whether LibreOffice
  draws pages.
- The content is the text, and the field, number and digest of the bytes of each attachment.

Not included: the id, passed-through columns, priority, the URL of an attachment, and the other records of the batch.
Settings that are applied to an answer after the cache, such as `min_confidence`, are not included, either.
"""

from __future__ import annotations

import hashlib
import json

from classer_core.calibration import CALIBRATION
from classer_core.classifiers import Classifier
from classer_core.records import Record

# Increase this with every change after which the same model may give another answer to the same record (scoring.py,
# windows.py, the wording of labels, how documents and pictures are read), and when `Answer` gets another field. Answers
# cached before are then not found any more.
SCORING_VERSION = 4

# As long as Git's: collisions are out of reach, and rows and cache entries stay small.
FINGERPRINT_BYTES = 20


def configuration(classifier: Classifier, reading: str, scores: int = 0) -> bytes:
    """Return the digest of everything but the content that can change an answer.

    Args:
        classifier: the record's classifier.
        reading: the models' ids, and the settings that decide which parts of a content they read.
        scores: number of labels that the answer lists with their confidences.

    >>> digest = configuration(Classifier.of(["a", "b"]), "model")
    >>> [digest == configuration(Classifier.of(labels), "model") for labels in (["b", "a"], ["a", "c"])]
    [True, False]
    """
    # Without scores as before there were any, so that earlier answers are still found.
    listed = [scores] if scores else []
    return hashlib.sha256(
        json.dumps([SCORING_VERSION, CALIBRATION.digest, classifier.digest, reading, *listed]).encode()
    ).digest()


def fingerprint(record: Record, configuration: bytes) -> bytes:
    """Return the fingerprint of a record, `FINGERPRINT_BYTES` bytes.

    Raises:
        ValueError: an attachment has not been fetched.

    >>> records = [Record(id, "some text", Classifier.of(["a", "b"])) for id in ("1", "2")]
    >>> fingerprint(records[0], b"configuration") == fingerprint(records[1], b"configuration")
    True
    """
    text = record.text.encode()
    if not record.attachments:
        return hashlib.sha256(configuration + b"\0" + text).digest()[:FINGERPRINT_BYTES]
    digest = hashlib.sha256(configuration + b"\1" + len(text).to_bytes(8, "big") + text)
    for item in record.attachments:
        if item.data is None:
            raise ValueError(f"{item.place} has not been fetched: fetch it before the fingerprint is computed")
        digest.update(b"%s %d " % (item.field.encode(), item.number) + hashlib.sha256(item.data).digest())
    return digest.digest()[:FINGERPRINT_BYTES]
