"""Pictures from strangers: what may be one, and how it is written anew.

What comes in is decoded and written again, so what goes out was written by us: no metadata (places, names), nothing hidden behind the
picture, turned as the camera says.
"""

import io
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageCms, ImageOps

from services.chassis.errors import Refusal, Violation

WHOLE: Final = 0
WAIT_S: Final = 5.0
"""So long a picture waits for its turn."""
_TURN: Final = threading.Lock()
"""One picture is unpacked at a time in a process: 40 megapixels take 320 MB, and come in a file of some kB."""
FORMATS: Final[Mapping[str, str]] = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "PNG": {"compress_level": 6},
    "JPEG": {"quality": 88, "progressive": True},
    "WEBP": {"quality": 88, "method": 2},
}
_MODES: Final[Mapping[str, frozenset[str]]] = {
    "PNG": frozenset({"1", "L", "LA", "P", "RGB", "RGBA"}),
    "JPEG": frozenset({"L", "RGB"}),
    "WEBP": frozenset({"RGB", "RGBA"}),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a picture may be; the values are policy. ``bytes`` as it comes, ``pixels`` as it is drawn, ``kept`` bytes as written."""

    bytes: int
    pixels: int
    kept: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One that was taken in. ``files``: size (0: whole) → bytes; a size that the whole does not exceed is not there."""

    content_type: str
    width: int
    height: int
    files: Mapping[int, bytes]


def read(content: bytes, limits: Limits, sizes: Iterable[int]) -> Picture:
    """Take in the bytes of a picture, and draw it in ``sizes`` (pixels of the longer side) too.

    Raises Refusal INVALID_ARGUMENT naming ``file``, TOO_LARGE, UNAVAILABLE when others are before it for too long.
    """
    if not content:
        raise _wrong("send a picture as the multipart part `file`; it was empty or missing")
    if len(content) > limits.bytes:
        raise Refusal("TOO_LARGE", f"a picture has at most {limits.bytes} bytes", info={"most": str(limits.bytes)})
    if not _TURN.acquire(timeout=WAIT_S):
        raise Refusal("UNAVAILABLE", "many pictures come at once; send it again", retry_after_s=1)
    try:
        return _drawn_anew(content, limits, sizes)
    finally:
        _TURN.release()


def _drawn_anew(content: bytes, limits: Limits, sizes: Iterable[int]) -> Picture:
    kind, drawn = _decoded(content, limits)
    whole = _written(drawn, kind)
    if len(whole) > limits.kept:
        raise _wrong(f"written anew it has {len(whole)} bytes, more than {limits.kept}; send it smaller or as JPEG")
    files = {WHOLE: whole}
    for size in sizes:
        if max(drawn.size) > size:
            files[size] = _written(_within(drawn, size), kind)
    return Picture(FORMATS[kind], *drawn.size, files)


def _decoded(content: bytes, limits: Limits) -> tuple[str, Image.Image]:
    """What the bytes really are, and the picture itself, turned upright."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=list(FORMATS)) as found:
            warnings.simplefilter("ignore")
            width, height = found.size
            if width * height > limits.pixels:  # told by the header, before anything is unpacked
                raise _too_many_pixels(limits)
            found.load()
            kind = "JPEG" if found.format == "MPO" else found.format or ""  # MPO: a camera's JPEG with more behind it
            ImageOps.exif_transpose(found, in_place=True)
            upright = _fitting(_in_common_colours(found), kind)
            upright.info = {name: value for name, value in upright.info.items() if name == "transparency"}
            return kind, upright
    except Refusal:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(limits) from error
    except Exception as error:
        raise _wrong(f"not a whole PNG, JPEG or WebP picture ({type(error).__name__}); send another file") from error


def _in_common_colours(picture: Image.Image) -> Image.Image:
    """In sRGB, which is what a picture without a profile is taken for: a telephone's wide colours would else look dull."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        given, common = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, given, common, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError):  # a broken profile says nothing
        return picture


def _fitting(picture: Image.Image, kind: str) -> Image.Image:
    """In a mode that the format can hold."""
    if picture.mode in _MODES[kind]:
        return picture
    has_alpha = kind != "JPEG" and ("A" in picture.getbands() or "transparency" in picture.info)
    return picture.convert("RGBA" if has_alpha else "RGB")


def _within(picture: Image.Image, size: int) -> Image.Image:
    """The same, its longer side ``size`` pixels."""
    colourful = picture.convert("RGBA") if picture.mode in ("P", "1") else picture
    return ImageOps.contain(colourful, (size, size), Image.Resampling.LANCZOS)


def _written(picture: Image.Image, kind: str) -> bytes:
    """As a file of that format."""
    out = io.BytesIO()
    picture.save(out, kind, **_OPTIONS[kind])
    return out.getvalue()


def _too_many_pixels(limits: Limits) -> Refusal:
    return _wrong(f"it has too many pixels; at most {limits.pixels} in all: send it smaller")


def _wrong(message: str) -> Refusal:
    return Refusal("INVALID_ARGUMENT", f"file: {message}", (Violation("file", message),))
