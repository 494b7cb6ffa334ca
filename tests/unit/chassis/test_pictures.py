"""What may be a picture, and how it is written anew."""

import io

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from services.chassis import pictures
from services.chassis.errors import Refusal
from services.chassis.pictures import WHOLE, Limits, read
from tests.backends.pictures import bomb, drawn

SIZES = (640, 300, 100)


def taken(content, **limits):
    return read(content, Limits(**{"bytes": 2**21, "pixels": 4_000_000, "kept": 4_000_000, **limits}), SIZES)


def size_of(data):
    with Image.open(io.BytesIO(data)) as found:
        return found.format, found.size


@pytest.mark.parametrize(
    ("kind", "mode", "told"),
    [
        ("PNG", "RGB", "image/png"),
        ("PNG", "RGBA", "image/png"),
        ("PNG", "P", "image/png"),
        ("PNG", "I;16", "image/png"),
        ("JPEG", "RGB", "image/jpeg"),
        ("JPEG", "CMYK", "image/jpeg"),
        ("JPEG", "L", "image/jpeg"),
        ("WEBP", "RGBA", "image/webp"),
    ],
)
def test_every_kind_is_kept_as_what_it_is_in_every_size_it_exceeds(kind, mode, told):
    picture = taken(drawn(kind, (400, 200), 0, mode))
    assert (picture.content_type, picture.width, picture.height) == (told, 400, 200)
    assert {size: size_of(data) for size, data in picture.files.items()} == {
        WHOLE: (kind, (400, 200)),
        300: (kind, (300, 150)),
        100: (kind, (100, 50)),
    }


def test_it_is_turned_as_the_camera_says_and_loses_what_the_camera_knew():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "GPS of a home"
    picture = taken(drawn("JPEG", (200, 100), exif=exif))
    assert (picture.width, picture.height) == (100, 200)
    assert b"GPS of a home" not in picture.files[WHOLE]
    assert not Image.open(io.BytesIO(picture.files[WHOLE])).getexif()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_stands_beside_the_picture_is_gone(kind):
    exif = Image.Exif()
    exif[0x010E] = "a home"
    told = PngInfo()
    told.add_text("Author", "a name")
    more = {"pnginfo": told} if kind == "PNG" else {"comment": b"a name"} if kind == "JPEG" else {}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = drawn(kind, exif=exif, icc_profile=profile, **more)
    picture = taken(content)
    assert b"a home" in content
    for size, data in picture.files.items():
        with Image.open(io.BytesIO(data)) as found:
            found.load()
            left = set(found.info) & {"exif", "icc_profile", "Author", "comment", "xmp"}
        assert (size, left, b"a home" in data, b"a name" in data) == (size, set(), False, False)


def test_colours_with_a_profile_are_put_into_the_common_ones():
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    wide = swapped(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for profile, expected in ((wide, (0, 0, 254)), (lab_like, (254, 0, 0)), (b"no profile", (254, 0, 0))):
        picture = taken(drawn("JPEG", (64, 64), (254, 0, 0), icc_profile=profile, quality=100))
        with Image.open(io.BytesIO(picture.files[WHOLE])) as found:
            got = found.convert("RGB").getpixel((9, 9))
        assert max(abs(one - other) for one, other in zip(got, expected, strict=True)) < 12, (got, expected)


def swapped(profile):
    """sRGB with its red and blue exchanged: nobody can take it for sRGB."""
    return profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")


def test_a_cameras_jpeg_with_a_second_picture_behind_it_is_a_jpeg():
    content = drawn("MPO", (200, 100), save_all=True, append_images=[Image.new("RGB", (20, 10))])
    picture = taken(content)
    assert (picture.content_type, size_of(picture.files[WHOLE])) == ("image/jpeg", ("JPEG", (200, 100)))


def test_the_transparent_colour_of_a_palette_stays():
    picture = taken(drawn("PNG", (200, 100), 0, "P", transparency=0))
    with Image.open(io.BytesIO(picture.files[WHOLE])) as found:
        assert found.convert("RGBA").getpixel((0, 0))[3] == 0
    with Image.open(io.BytesIO(picture.files[100])) as found:
        assert found.convert("RGBA").getpixel((0, 0))[3] == 0


def test_one_is_unpacked_at_a_time_and_who_waits_too_long_is_told(monkeypatch):
    monkeypatch.setattr(pictures, "WAIT_S", 0.01)
    with pictures._TURN, pytest.raises(Refusal, match="UNAVAILABLE"):
        taken(drawn())
    assert taken(drawn()).width == 800


def test_what_hides_behind_a_picture_is_gone():
    picture = taken(drawn() + b"<script>alert(1)</script>")
    assert b"script" not in picture.files[WHOLE]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a whole PNG, JPEG or WebP"),
        (drawn("GIF"), "not a whole PNG, JPEG or WebP"),
        (drawn("BMP"), "not a whole PNG, JPEG or WebP"),
        (drawn()[:-60], "not a whole PNG, JPEG or WebP"),
        (drawn("JPEG", (600, 600))[:900], "not a whole PNG, JPEG or WebP"),
        (bomb(60_000), "too many pixels"),
        (bomb(9_000), "too many pixels"),
    ],
    ids=["nothing", "SVG", "GIF", "BMP", "half a PNG", "half a JPEG", "bomb", "small bomb"],
)
def test_what_is_no_picture_is_refused_and_told_why(content, said):
    with pytest.raises(Refusal) as refused:
        taken(content)
    assert refused.value.reason == "INVALID_ARGUMENT"
    assert [found.field for found in refused.value.violations] == ["file"]
    assert said in refused.value.message


def test_too_many_bytes_and_a_picture_that_grows_are_refused():
    with pytest.raises(Refusal, match="TOO_LARGE"):
        taken(drawn(), bytes=100)
    with pytest.raises(Refusal, match="written anew"):
        taken(drawn(), kept=100)
