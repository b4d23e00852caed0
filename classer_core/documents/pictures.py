"""Decode pictures with Pillow into RGB pixels the right way up. Runs in the sandbox."""

from __future__ import annotations

import io
import warnings

from PIL import Image as PillowImage
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from classer_core.contents import MAX_AREA_PX
from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandError, Image, Wanted
from classer_core.errors import FailureCode

# Bytes of a decoded picture are up to four times this; the largest real one seen has 80 MP.
MAX_PIXELS = 128_000_000
# These call other programs, or only describe a picture that they can't draw.
NOT_OPENED = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "PDF"}

PillowImage.MAX_IMAGE_PIXELS = None  # checked here, before anything is decoded
warnings.simplefilter("ignore")


def read_picture(data: bytes, wanted: Wanted) -> Expanded:
    """Return the one page of a picture; of an animation, its first frame.

    Raises:
        ExpandError: no picture, damaged, or too large to decode.
    """
    try:
        picture = PillowImage.open(io.BytesIO(data), formats=formats())
    except UnidentifiedImageError as error:
        code = FailureCode.IMAGE_UNSUPPORTED if wanted.field == "image" else FailureCode.DOCUMENT_UNSUPPORTED
        raise ExpandError(code, f"neither PDF, DOCX nor a picture that can be opened: {_head(data)}") from error
    except MemoryError:
        raise
    except Exception as error:  # format plugins raise whatever they like on broken headers
        raise _damaged(error) from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        message = f"the picture has {width} x {height} pixels, {MAX_PIXELS:,} are allowed"
        raise ExpandError(FailureCode.IMAGE_TOO_LARGE, message)
    if not wanted.side_px:
        return Expanded([ExpandedPage("", None)])
    try:
        upright = as_rgb(picture, wanted.side_px)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(error) from error
    return Expanded([ExpandedPage("", Image(upright.width, upright.height, upright.tobytes()))])


def as_rgb(picture: PillowImage.Image, side_px: int) -> PillowImage.Image:
    """Return an opened picture upright in RGB, of at most 4 MP and `side_px`, alpha flattened on white."""
    picture.draft("RGB", (side_px, side_px))  # JPEG: decoded at a fraction of its size
    picture.load()
    width, height = picture.size
    scale = min(1.0, side_px / max(width, height), (MAX_AREA_PX / (width * height)) ** 0.5)
    orientation = picture.getexif().get(0x0112, 1)
    picture = _with_plain_mode(picture)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = picture.resize(size, PillowImage.Resampling.BICUBIC, reducing_gap=2.0)
    picture.getexif()[0x0112] = orientation
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("RGBA", "LA"):
        background = PillowImage.new("RGBA", picture.size, "white")
        picture = PillowImage.alpha_composite(background, picture.convert("RGBA"))
    return picture.convert("RGB")


def _with_plain_mode(picture: PillowImage.Image) -> PillowImage.Image:
    """L, LA, RGB or RGBA: modes that can be resized and shown as they are."""
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return _sixteen_bits(picture)
    if mode in ("P", "PA") or (mode in ("1", "L", "RGB") and "transparency" in picture.info):
        return picture.convert("RGBA")
    if mode in ("La", "RGBa"):
        return picture.convert("LA" if mode == "La" else "RGBA")
    if mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")
        assert converted is not None
        return converted
    if mode == "1":
        return picture.convert("L")
    return picture if mode in ("L", "LA", "RGB", "RGBA") else picture.convert("RGB")


def _sixteen_bits(picture: PillowImage.Image) -> PillowImage.Image:
    """Deep greys to 8 bits: Pillow's own conversion makes all above 255 white."""
    deep = picture.convert("F")
    low, high = deep.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65_535.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    scale = 255 / (high - low) if high > low else 1.0
    return deep.point(lambda value: value * scale - low * scale).convert("L")


def formats() -> list[str]:
    """Pillow's formats that are safe to try."""
    PillowImage.init()
    return [name for name in PillowImage.OPEN if name not in NOT_OPENED]


def _damaged(error: Exception) -> ExpandError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ExpandError(FailureCode.IMAGE_DAMAGED, f"the picture can't be decoded: {reason}")


def _head(data: bytes) -> str:
    return f"{len(data)} bytes that begin with {data[:12]!r}"
