"""Describe the form of a page's text in numbers: invoices, letters and forms differ in it, whatever they are about."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Of a page; the rest of a long page has the same form.
MAX_CHARS = 6_000
# Of a line, half from its beginning and half from its end: patterns take quadratic time on hostile lines.
MAX_LINE_CHARS = 200
# Shares of lines that match.
LINE_PATTERNS = [
    r":$",  # the name of a field, its value in the next line
    r"^[^:]{2,40}: +\S",  # a field and its value
    r"^\W*\d[\d.,:/ %-]*\W*$",  # numbers alone
    r"^\s*[-*\u2022\u25cf\u25aa\u25e6\u2013]\s",  # items of a list
    r"^\s*\(?[\dA-Za-z]{1,3}[.)]\s",  # numbered items or clauses
    r"^\s*\d+(\.\d+)+\.?\s",  # numbered sections
    r"[_.\u2026]{4,}",  # lines to fill in, and leaders of a table of contents
    r"\?\s*$",  # questions
    r"[.!?\u3002]$",  # ends of sentences
    r"\d[.,]\d{2}\b",  # amounts
    r"^[^a-z]*[A-Z][^a-z]*$",  # capitals alone
    r"(\S\s{2,}){2,}\S",  # columns
]
# Occurrences for each 1,000 characters, as a logarithm.
PATTERNS = [
    r"[$\u20ac\u00a3\u00a5\u20b9]|\b(?:USD|EUR|GBP|CHF)\b",
    r"\b\d{1,4}[./-]\d{1,2}[./-]\d{2,4}\b",
    r"\b(?:19|20)\d\d\b",
    r"\[\d+(?:[,-] ?\d+)*\]|\bet al\b",
    r"\w@\w",
    r"https?://|www\.",
    r"\d ?%",
    r"[\u00a7\u00b6]",
    r"[=<>\u00b1\u2211\u222b\u2264\u2265\u00d7^{}\\]",
    r"[\"\u201c\u201d\u00ab\u00bb\u201e]",
    r"\(",
    r"\b[A-Z]{2,}\b",
    r"\b[A-Z]+\d[\w-]*\b",
    r"[;]",
    r"[\u2610-\u2612\u25a1\u25a2]|\[ ?\]",
    r"\+?\d[\d ()/-]{7,}\d",
]
_LINES = [re.compile(pattern) for pattern in LINE_PATTERNS]
_PATTERNS = [re.compile(pattern) for pattern in PATTERNS]
N_FEATURES = len(LINE_PATTERNS) + len(PATTERNS) + 11


def text_shape(pages: Sequence[str]) -> Floats:
    """Return features (N_FEATURES,) float32 of the form of texts, about 0 to 1 each; zeros if there is no text.

    Args:
        pages: the text of each page, with its line breaks.
    """
    text = "\n".join(page[:MAX_CHARS] for page in pages)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return np.zeros(N_FEATURES, np.float32)
    chars = "".join(lines)
    words = text.split()
    lengths = np.array([len(line) for line in lines])
    n_chars = len(chars)
    lines = [_shortened(line) for line in lines]
    features = [sum(bool(pattern.search(line)) for line in lines) / len(lines) for pattern in _LINES]
    features += [np.log1p(1_000 * sum(1 for _ in pattern.finditer(text)) / n_chars) / 3 for pattern in _PATTERNS]
    features += [
        np.log1p(lengths.mean()) / 5,
        np.log1p(lengths.std()) / 5,
        float((lengths < 16).mean()),
        float((lengths > 70).mean()),
        np.log1p(n_chars / len(pages)) / 8,
        np.log1p(len(lines) / len(pages)) / 5,
        sum(map(str.isdigit, chars)) / n_chars,
        sum(map(str.isupper, chars)) / n_chars,
        sum(map(str.isalpha, chars)) / n_chars,
        len(set(words)) / max(len(words), 1),
        sum(char > "\u024f" and char.isalpha() for char in chars) / n_chars,
    ]
    return np.array(features, np.float32)


def _shortened(line: str) -> str:
    half = MAX_LINE_CHARS // 2
    return line if len(line) <= MAX_LINE_CHARS else line[:half] + line[-half:]
