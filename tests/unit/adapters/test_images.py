"""Image files that are fine, missing, broken, or no images."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lvlmsal.adapters.images import open_image, seen_part
from lvlmsal.errors import DataError


@pytest.fixture
def noise() -> Image.Image:
    return Image.effect_noise((64, 48), 90)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_reads_the_image_in_rgb(tmp_path: Path, noise: Image.Image, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    noise.save(path)
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    path.unlink()
    assert len(image.tobytes()) == 64 * 48 * 3


def test_turns_a_photograph_as_the_camera_noted(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    image.save(tmp_path / "turned.png", exif=exif)
    turned = open_image(tmp_path / "turned.png")
    assert turned.size == (4, 8)
    assert turned.getpixel((3, 0)) == (255, 0, 0)


def test_transparent_palette_image_becomes_rgb(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert open_image(str(tmp_path / "clear.png")).mode == "RGB"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_image_that_was_cut_off(tmp_path: Path, noise: Image.Image, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="image") as caught:
        open_image(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)


def test_broken_checksum(tmp_path: Path, noise: Image.Image) -> None:
    path = tmp_path / "flipped.png"
    noise.save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be read"):
        open_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"text\.png.*image"):
        open_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: there is no such image file"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match="this is a folder; expected an image file"):
        open_image(tmp_path)


def test_image_that_unpacks_to_far_too_much(tmp_path: Path, noise: Image.Image) -> None:
    path = tmp_path / "bomb.png"
    noise.save(path)
    with pytest.raises(
        DataError, match=r"bomb\.png: the image has 64 x 48 = 3,072 pixels, and the"
    ):
        open_image(path, max_pixels=3071)
    assert open_image(path, max_pixels=3072).size == (64, 48)
    for form in (noise, np.asarray(noise), path.read_bytes()):
        with pytest.raises(DataError, match="max_image_pixels=3072"):
            open_image(form, max_pixels=3071)


def test_the_limit_of_pillow_gives_way_to_ours_and_stays_for_others(
    tmp_path: Path, noise: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise.save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_image(tmp_path / "large.png").size == (64, 48)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_an_image_that_claims_a_huge_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = bytearray(_png(Image.new("L", (1, 1))))
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with pytest.raises(DataError, match="20000 x 20000 = 400,000,000 pixels, and the limit is 100"):
        open_image(bytes(content))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(60, 300),
    height=st.integers(60, 300),
    size=st.sampled_from(
        [{"shortest_edge": 32}, {"shortest_edge": 40}, {"height": 48, "width": 40}]
    ),
)
def test_the_seen_part_is_what_the_processor_takes(
    width: int, height: int, size: dict[str, int]
) -> None:
    """Cut out first, the picture gives the pixels that it gives as a whole."""
    ramp = np.linspace(0, 1, width)[None, :, None] * np.array([255, 0, 0])
    ramp = ramp + np.linspace(0, 1, height)[:, None, None] * np.array([0, 255, 0])
    image = Image.fromarray(ramp.astype(np.uint8))
    processor = CLIPImageProcessorPil(size=size, crop_size={"height": 32, "width": 32})
    part = seen_part(image, processor)
    plain = {"do_center_crop": False, "size": {"height": 32, "width": 32}}
    wanted = processor(image, return_tensors="pt")["pixel_values"]
    found = processor(part, return_tensors="pt", **plain)["pixel_values"]
    # The ramps run over 3.7 units. The cut may be off by a pixel at each side, the processor's own
    # crop by half a pixel of its output, and eight bits round twice.
    bound = 3.7 * (2 / min(part.size) + 0.5 / 32 + 2 / 255)
    assert float((wanted - found).abs().max()) < bound


def test_nothing_is_cut_off_where_the_processor_does_not() -> None:
    image = Image.new("RGB", (64, 48))
    assert seen_part(image, CLIPImageProcessorPil(do_center_crop=False)) is image
    assert seen_part(image, object()) is image
    square = Image.new("RGB", (64, 64))
    assert seen_part(square, CLIPImageProcessorPil()) is square
