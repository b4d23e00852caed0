"""Pictures of every mode come out as a person sees them."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from classer_core import FailureCode
from classer_core.documents.expanded import ExpandError, ExpandRequest
from classer_core.documents.pictures import read_picture


def look(data: bytes, side_px: int = 64) -> npt.NDArray[np.uint8]:
    [page] = read_picture(data, ExpandRequest("image", "all", side_px, False, 0)).pages
    assert page.image is not None
    return np.frombuffer(page.image.rgb, np.uint8).reshape(page.image.height, page.image.width, 3)


def saved(picture: Image.Image, format: str = "png", **more: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, format, **more)
    return data.getvalue()


def halves(mode: str, left: object, right: object) -> Image.Image:
    picture = Image.new(mode, (40, 20), left)  # type: ignore[arg-type]
    picture.paste(right, (20, 0, 40, 20))  # type: ignore[arg-type]
    return picture


@pytest.mark.parametrize(
    ("data", "left", "right"),
    [
        (saved(halves("RGB", "red", "blue")), (255, 0, 0), (0, 0, 255)),
        (saved(halves("L", 0, 255)), (0, 0, 0), (255, 255, 255)),
        (saved(halves("1", 0, 1)), (0, 0, 0), (255, 255, 255)),
        (saved(halves("RGB", "red", "blue").quantize(4)), (255, 0, 0), (0, 0, 255)),
        # What is transparent is white, whatever colour hides there.
        (saved(halves("RGBA", (255, 0, 0, 255), (9, 9, 9, 0))), (255, 0, 0), (255, 255, 255)),
        (saved(halves("RGBA", (0, 0, 0, 128), (0, 0, 0, 255))), (127, 127, 127), (0, 0, 0)),
        (saved(halves("LA", (0, 255), (7, 0))), (0, 0, 0), (255, 255, 255)),
        # 16 bits: the middle stays the middle.
        (saved(halves("I;16", 32_768, 65_535)), (128, 128, 128), (255, 255, 255)),
        (saved(halves("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "tiff"), (255, 0, 0), (0, 0, 255)),
        (saved(halves("RGB", "red", "blue"), "webp", lossless=True), (255, 0, 0), (0, 0, 255)),
    ],
)
def test_modes(data: bytes, left: tuple[int, int, int], right: tuple[int, int, int]) -> None:
    pixels = look(data)
    assert np.abs(pixels[10, 5].astype(int) - left).max() <= 2
    assert np.abs(pixels[10, 35].astype(int) - right).max() <= 2


def test_palette_with_transparency() -> None:
    picture = halves("RGB", "red", "blue").quantize(4)
    transparent = picture.getpixel((30, 10))
    pixels = look(saved(picture, "png", transparency=transparent))
    assert pixels[10, 5].tolist() == [255, 0, 0]
    assert pixels[10, 35].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    upright = halves("RGB", "red", "blue")
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(turn[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = look(saved(stored, "jpeg", quality=95, exif=exif))
    assert pixels.shape == (20, 40, 3)
    assert pixels[10, 5, 0] > 200 and pixels[10, 35, 2] > 200


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    assert look(saved(frames[0], "gif", save_all=True, append_images=frames[1:]))[5, 5].tolist() == [255, 0, 0]


def test_large_pictures_are_reduced_with_their_shape_kept() -> None:
    wide = saved(Image.new("RGB", (6_000, 1_500), "green"), "jpeg")
    assert look(wide, 1_024).shape == (256, 1_024, 3)
    shape = look(wide, 10_000).shape  # 9 MP: at most 4 MP are kept
    assert shape[0] * shape[1] <= 4_194_304
    assert shape[1] / shape[0] == pytest.approx(4, rel=0.01)


def test_small_pictures_are_not_enlarged() -> None:
    assert look(saved(Image.new("RGB", (3, 2))), 1_024).shape == (2, 3, 3)


def test_bombs_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(ExpandError, match="20000 x 20000 pixels") as caught:
        look(saved(Image.new("1", (20_000, 20_000))))
    assert caught.value.code == FailureCode.IMAGE_TOO_LARGE


def test_cut_pictures_are_damaged() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    data = saved(Image.fromarray(noise))
    with pytest.raises(ExpandError) as caught:
        look(data[: len(data) // 2])
    assert caught.value.code == FailureCode.IMAGE_DAMAGED


def test_what_is_no_picture() -> None:
    with pytest.raises(ExpandError, match="neither PDF, DOCX nor a supported picture") as caught:
        look(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")  # Pillow would call Ghostscript
    assert caught.value.code == FailureCode.IMAGE_UNSUPPORTED
