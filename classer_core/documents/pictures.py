"""Read pictures with Pillow as upright RGB pixels. Runs in the sandbox."""

from __future__ import annotations

import io
import warnings

from PIL import Image as PillowImage
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from classer_core.contents import MAX_AREA_PX
from classer_core.documents.expanded import Expanded, ExpandedPage, ExpandError, ExpandRequest, Image
from classer_core.errors import FailureCode

# A decoded picture takes up to four bytes per pixel; the largest real one seen has 80 MP.
MAX_PIXELS = 128_000_000
# Formats that run other programs, or that Pillow identifies but can't decode.
NOT_OPENED = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "PDF"}

PillowImage.MAX_IMAGE_PIXELS = None  # checked here, before anything is decoded
warnings.simplefilter("ignore")


def read_picture(data: bytes, request: ExpandRequest) -> Expanded:
    """Return a picture as a page without text; only the first frame of an animation.

    Raises:
        ExpandError: the file is not a picture that Pillow can decode, is damaged, or has more than `MAX_PIXELS`.
    """
    try:
        picture = PillowImage.open(io.BytesIO(data), formats=formats())
    except UnidentifiedImageError as error:
        code = FailureCode.IMAGE_UNSUPPORTED if request.field == "image" else FailureCode.DOCUMENT_UNSUPPORTED
        raise ExpandError(code, f"the file is neither PDF, DOCX nor a supported picture: {_head(data)}") from error
    except MemoryError:
        raise
    except Exception as error:  # plugins of formats raise arbitrary exceptions on damaged headers
        raise _damaged(error) from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        message = f"the picture has {width} x {height} pixels, at most {MAX_PIXELS:,} are allowed: scale it down"
        raise ExpandError(FailureCode.IMAGE_TOO_LARGE, message)
    if not request.side_px:
        return Expanded([ExpandedPage("", None)])
    try:
        upright = as_rgb(picture, request.side_px)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(error) from error
    return Expanded([ExpandedPage("", Image(upright.width, upright.height, upright.tobytes()))])


def as_rgb(picture: PillowImage.Image, side_px: int) -> PillowImage.Image:
    """Return an opened picture upright, in RGB, on white where it is transparent.

    Args:
        picture: as Pillow opens it.
        side_px: longest side of the result, which has at most `MAX_AREA_PX` pixels.
    """
    picture.draft("RGB", (side_px, side_px))  # large JPEGs are decoded at a fraction of their size
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
    """Return a picture in mode L, LA, RGB or RGBA, which can be resized."""
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
    """Return a greyscale picture of more than 8 bits scaled to 8; Pillow's own conversion clips values above 255."""
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
    """Return the names of Pillow's formats that are allowed."""
    PillowImage.init()
    return [name for name in PillowImage.OPEN if name not in NOT_OPENED]


def _damaged(error: Exception) -> ExpandError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ExpandError(FailureCode.IMAGE_DAMAGED, f"the picture can't be decoded: {reason}")


def _head(data: bytes) -> str:
    return f"{len(data)} bytes that begin with {data[:12]!r}"
