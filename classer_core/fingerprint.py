"""Fingerprints: what two records have in common that get the same answer. This is the one place that defines them.

    configuration  = SHA-256 of: SCORING_VERSION, calibration, the classifier's digest, what is used to read (see below)
    fingerprint    = the first 20 bytes of SHA-256 of: configuration, content

- The classifier's digest covers labels (in any order), descriptions, examples, text_type, mode, threshold, and what it
  has learned. Calibration is the digest of the fitted constants.
- What is used to read is the text model's id, which holds the digest of its weights and its number format; for records
  with attachments also the visual model's id, whether long documents are truncated, and whether LibreOffice draws.
- The content is the text, and of each attachment its field, its number, and the digest of its bytes.

Nothing else: not the id, columns that pass through, priority, the URL that bytes came from, or the records beside it.
Whatever is applied to an answer after it was looked up is no part of it either.
"""

from __future__ import annotations

import hashlib
import json

from classer_core.calibration import CALIBRATION
from classer_core.classifiers import Classifier
from classer_core.records import Record

# Raise it with every change after which an unchanged model may give another answer to an unchanged record (scoring.py,
# windows.py, how labels are phrased, how documents and pictures are read), and when an Answer gets another field: what
# was stored before is then never found again.
SCORING_VERSION = 3

# Git's length: nobody makes two contents that share one, and rows and cache entries stay small.
FINGERPRINT_BYTES = 20


def configuration(classifier: Classifier, reading: str) -> bytes:
    """The digest of all that can change an answer beside the content.

    Args:
        classifier: what is asked.
        reading: the models' ids, and the settings that decide what of a content they see.
    """
    return hashlib.sha256(
        json.dumps([SCORING_VERSION, CALIBRATION.digest, classifier.digest, reading]).encode()
    ).digest()


def fingerprint(record: Record, configuration: bytes) -> bytes:
    """A record in, its fingerprint out.

    Raises:
        ValueError: an attachment has not been fetched.
    """
    text = record.text.encode()
    if not record.attachments:
        return hashlib.sha256(configuration + b"\0" + text).digest()[:FINGERPRINT_BYTES]
    digest = hashlib.sha256(configuration + b"\1" + len(text).to_bytes(8, "big") + text)
    for item in record.attachments:
        if item.data is None:
            raise ValueError(f"{item.place} has not been fetched")
        digest.update(b"%s %d " % (item.field.encode(), item.number) + hashlib.sha256(item.data).digest())
    return digest.digest()[:FINGERPRINT_BYTES]
