"""Text in pictures of any size, on real weights."""

import numpy as np
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from classer_core.contents import Pixels
from classer_core.models.ocr import OcrReader
from tests.benchmarks.memory import PeakMemory


@pytest.fixture(scope="module")
def reader() -> OcrReader:
    return OcrReader(1)


def letters(text: str, width: int, height: int, size_px: int) -> Pixels:
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text((6, 6), text, "black", ImageFont.load_default(size_px))
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("width", "height", "size_px"), [(90, 24, 11), (300, 60, 24), (1_024, 724, 30), (60, 1_024, 14)]
)
def test_letters_are_read(reader: OcrReader, width: int, height: int, size_px: int) -> None:
    [text] = reader.read([letters("Total 42", width, height, size_px)])
    assert "".join(text.split()) == "Total42"


def test_a_strip_takes_no_gigabytes(reader: OcrReader) -> None:
    reader.read([letters("Total 42", 300, 60, 24)])
    before = psutil.Process().memory_info().rss
    with PeakMemory() as peak:
        reader.read([np.random.default_rng(0).integers(0, 256, (1_024, 16, 3), dtype=np.uint8)])
    assert peak.bytes - before < 500e6


def test_a_line_is_read_the_same_beside_others(reader: OcrReader) -> None:
    page = Image.fromarray(letters("Total 42", 800, 200, 24))
    [alone] = reader.read([np.asarray(page)])
    ImageDraw.Draw(page).text((6, 100), "a line that is very much longer than the other one is", "black", font_size=24)
    [together] = reader.read([np.asarray(page)])
    assert together.split("\n")[0] == alone


def test_specks_are_not_read(reader: OcrReader) -> None:
    assert reader.read([np.zeros((15, 900, 3), np.uint8)]) == [""]
