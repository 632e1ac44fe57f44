"""One way in for images: every form gives the same pixels, or an error that says what to do."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lvlmsal.adapters.images import is_image, open_image
from lvlmsal.errors import DataError
from lvlmsal.model.inputs import one_entry_each, opened, opened_batch

# 2 x 3 pixels, so that no turn leaves them as they are: 1 2 3 above 4 5 6
ROWS = [[1, 2, 3], [4, 5, 6]]
# The same scene for each EXIF orientation, as the camera stored it (EXIF 2.32, tag 274: which side
# of the scene the first row and the first column of the file are).
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],  # top, left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # left, top
    6: [[3, 6], [2, 5], [1, 4]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[4, 1], [5, 2], [6, 3]],  # left, bottom
}


def gray(image: Image.Image) -> list[list[int]]:
    """The levels of an image in RGB whose three channels are equal."""
    assert image.mode == "RGB"
    pixels = np.asarray(image)
    assert (pixels == pixels[..., :1]).all()
    levels: list[list[int]] = pixels[..., 0].tolist()
    return levels


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def levels(rows: Any, dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return np.asarray(rows, dtype=dtype)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_exif_is_turned_whatever_the_image_is_given_as(
    tmp_path: Path, orientation: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(levels(STORED[orientation]) * 30).convert("RGB")
    content = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    path = tmp_path / f"photo.{kind}"
    path.write_bytes(content)
    with Image.open(path) as lazy, Image.open(path) as read, path.open("rb") as file:
        read.load()
        forms: list[Any] = [path, str(path), content, file, lazy, read, read.convert("RGB")]
        upright = [open_image(form) for form in forms]
    for image in upright:
        assert gray(image) == (levels(ROWS) * 30).tolist()
        # nothing turns it a second time
        assert gray(open_image(image)) == (levels(ROWS) * 30).tolist()


@given(arrays.arrays(np.uint8, st.tuples(st.integers(5, 12), st.integers(5, 12), st.just(3))))
def test_arrays_come_back_equal_in_either_layout(pixels: np.ndarray[Any, Any]) -> None:
    first = np.moveaxis(pixels, -1, 0)
    forms = [pixels, first, torch.from_numpy(pixels), torch.from_numpy(first.copy()), first[:, ::1]]
    for form in forms:
        assert (np.asarray(open_image(form)) == pixels).all()
    for form in (pixels.astype(np.float32) / 255, pixels.astype(np.uint16) * 257):
        assert (np.asarray(open_image(form)) == pixels).all()
    half = torch.from_numpy(pixels).half() / 255
    assert (np.asarray(open_image(half)) == pixels).all()


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1), (1, 2, 5)])
def test_gray_arrays(shape: tuple[int, ...]) -> None:
    rows = levels([[0, 10, 20, 30, 40], [50, 60, 70, 80, 255]])
    assert gray(open_image(rows.reshape(shape))) == rows.tolist()
    assert gray(open_image(torch.from_numpy(rows.reshape(shape)))) == rows.tolist()
    assert gray(open_image(levels(rows > 45, bool))) == [[0] * 5, [255] * 5]


def test_a_tensor_with_a_graph_and_one_of_bfloat16() -> None:
    ones = torch.ones(3, 5, 5, requires_grad=True)
    assert gray(open_image(ones * 0.2)) == [[51] * 5] * 5
    assert gray(open_image(torch.ones(3, 5, 5, dtype=torch.bfloat16))) == [[255] * 5] * 5


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5, 3), np.uint8), r"shape \(3, 5, 3\) the channels may stand first or last"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"shape \(2, 3, 8, 8\) was given as one image.*list\("),
        (
            np.zeros((5, 6, 7), np.uint8),
            r"shape \(5, 6, 7\) is not an image: expected \(height, width",
        ),
        (np.zeros(5, np.uint8), r"shape \(5,\) is not an image"),
        (np.zeros((0, 5, 3), np.uint8), "0 pixels, which is none at all"),
        (np.zeros((5, 5), np.int64), "array of int64, which has no known range.*astype"),
        (np.zeros((5, 5), complex), "array of complex128, which has no known range"),
        (np.full((5, 5), 1.5), "floats from 1.5 to 1.5; expected 0"),
        (np.full((5, 5), -0.5), "floats from -0.5"),
        (np.full((5, 5), np.nan), "floats from nan"),
    ],
)
def test_arrays_that_could_mean_two_things_are_refused(array: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_image(array)
    with pytest.raises(DataError, match=message):
        open_image(torch.from_numpy(array))


def test_sixteen_bits_keep_their_picture(tmp_path: Path) -> None:
    # 257 steps of 16 bits are one of 8 bits; 257 * 7.5 lies between two and is rounded up
    wide, narrow = [[0, 257, 257 * 7 + 128, 1928, 65535]], [[0, 1, 7, 8, 255]]
    image = Image.fromarray(levels(wide, np.uint16))
    assert image.mode == "I;16"
    for form in (image, levels(wide, np.uint16), encoded(image), encoded(image, "tiff")):
        assert gray(open_image(form)) == narrow
    plain = tmp_path / "scan.pgm"
    plain.write_text("P2\n5 1\n65535\n0 257 1927 1928 65535\n")
    assert gray(open_image(plain)) == narrow
    # a depth of its own is scaled to its own white
    plain.write_text("P2\n3 1\n1000\n0 500 1000\n")
    assert gray(open_image(plain)) == [[0, 128, 255]]


def test_floats_and_wide_integers_of_pillow() -> None:
    unit = Image.fromarray(levels([[0.0, 0.2, 1.0]], np.float32))
    assert (unit.mode, gray(open_image(unit))) == ("F", [[0, 51, 255]])
    assert gray(open_image(encoded(unit, "tiff"))) == [[0, 51, 255]]
    with pytest.raises(DataError, match="floats from 0 to 255"):
        open_image(Image.fromarray(levels([[0, 255]], np.float32)))
    wide = Image.fromarray(levels([[0, 255]], np.int32))
    assert wide.mode == "I"
    for form in (wide, encoded(wide, "tiff")):
        with pytest.raises(DataError, match="mode 'I': 32-bit integers have no known range"):
            open_image(form)


CLEAR = {
    # half of 200 and half of white; then fully clear, whatever is hidden there; then opaque
    "RGBA": [(200, 200, 200, 51), (9, 9, 9, 0), (7, 7, 7, 255)],
    "LA": [(200, 51), (9, 0), (7, 255)],
}


@pytest.mark.parametrize("mode", CLEAR)
def test_transparency_is_composed_on_white(mode: str) -> None:
    image = Image.new(mode, (3, 1))
    for column, pixel in enumerate(CLEAR[mode]):
        image.putpixel((column, 0), pixel)
    # 51 / 255 is a fifth: 0.2 * 200 + 0.8 * 255 = 244
    for form in (image, encoded(image)):
        assert gray(open_image(form)) == [[244, 255, 7]]
    if mode == "RGBA":
        assert gray(open_image(np.tile(np.asarray(image), (5, 2, 1)))) == [[244, 255, 7] * 2] * 5


def test_transparency_of_palettes_and_of_one_color() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([50, 50, 50, 100, 100, 100, 150, 150, 150])
    for column in range(3):
        palette.putpixel((column, 0), column)
    for kind in ("png", "gif"):
        assert gray(open_image(encoded(palette, kind, transparency=1))) == [[50, 255, 150]]
    assert gray(open_image(encoded(palette, transparency=b"\x00\xff\x33"))) == [[255, 100, 234]]
    one = Image.fromarray(levels([[10, 20]]))
    assert gray(open_image(encoded(one, transparency=10))) == [[255, 20]]
    color = encoded(one.convert("RGB"), transparency=(10, 10, 10))
    assert gray(open_image(color)) == [[255, 20]]
    deep = Image.fromarray(levels([[2570, 5140]], np.uint16))
    assert gray(open_image(encoded(deep, transparency=2570))) == [[255, 20]]


def test_the_rarer_modes_with_alpha() -> None:
    palette = Image.new("PA", (2, 1))
    palette.putpalette([10, 10, 10, 50, 50, 50])
    palette.putpixel((0, 0), (1, 0))
    palette.putpixel((1, 0), (1, 255))
    assert gray(open_image(palette)) == [[255, 50]]
    # premultiplied: nothing of a clear pixel is left but its being clear
    for mode, clear in (("LA", (90, 0)), ("RGBA", (90, 90, 90, 0))):
        assert gray(open_image(Image.new(mode, (1, 1), clear).convert(f"{mode[:-1]}a"))) == [[255]]


@pytest.mark.parametrize(
    ("mode", "red"),
    [
        ("CMYK", (0, 255, 255, 0)),
        ("YCbCr", (76, 85, 255)),
        ("HSV", (0, 255, 255)),
        ("LAB", (136, 208, 195)),  # L* 53.2, a* 80.1, b* 67.2, whose zero is at 128
    ],
)
def test_other_color_spaces_become_rgb(mode: str, red: tuple[int, ...]) -> None:
    pixel = np.asarray(open_image(Image.new(mode, (1, 1), red)))[0, 0]
    assert np.abs(pixel.astype(int) - [255, 0, 0]).max() <= 12
    assert pixel[0] >= 250


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(levels([[0, 255]])).convert("1")
    assert gray(open_image(image)) == gray(open_image(encoded(image))) == [[0, 255]]


@pytest.mark.parametrize("kind", ["gif", "png", "tiff", "webp"])
def test_the_first_frame_of_several(kind: str) -> None:
    frames = [Image.new("L", (6, 6), level) for level in (200, 10)]
    lossless = {"lossless": True} if kind == "webp" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    assert gray(open_image(content)) == [[200] * 6] * 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://example.org/cat.png", "is an address.*download it and give the path"),
        ("file:///pictures/cat.png", "is an address"),
        (Path("https://example.org/cat.png"), "this is an address, and images are not fetched"),
        ("data:image/png;base64,iVBORw0KGgoAAAA=", "base64 text, not a path.*b64decode"),
        ("/9j/" + "4AAQSkZJRg" * 40, r"base64 text, not a path"),
        ("images/iVBORw0KGgo" + "AAAANSUhEUg/" * 400, "base64 text, not a path"),
        ("n" * 5000 + ".png", r"n{40}\.\.\. \(5,004 characters\): the name is longer than"),
        ("null\0byte.png", "no image can be read there"),
        (b"", "not an image that Pillow can read"),
        (b"GIF89a", "image"),
        (io.StringIO("text"), "gave str, not bytes: open it in binary mode"),
        (12, "an image was given as int; expected a path"),
        ({"bytes": b""}, "given as dict; expected"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        opened(given)
    assert len(str(caught.value)) < 500


def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(DataError, match=r"a pipe, a socket or a device.*give its bytes"):
            open_image(path)


def test_formats_that_pillow_knows_in_part_give_one_error() -> None:
    # a DDS whose pixel format no reader knows: Pillow raises NotImplementedError
    header = bytearray(128)
    header[:8] = b"DDS " + (124).to_bytes(4, "little")
    header[12:20] = (4).to_bytes(4, "little") * 2
    header[76:88] = (32).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"NONE"
    with pytest.raises(DataError, match="image"):
        open_image(bytes(header))
    closed = Image.open(io.BytesIO(encoded(Image.new("L", (3, 3)))))
    closed.close()
    with pytest.raises(DataError, match="the image cannot be read"):
        open_image(closed)


def test_a_file_that_was_read_before_is_read_from_its_start() -> None:
    file = io.BytesIO(encoded(Image.new("L", (3, 3), 9)))
    assert gray(open_image(file)) == gray(open_image(file)) == [[9] * 3] * 3


def test_messages_name_the_image_by_its_place() -> None:
    good = Image.new("RGB", (5, 5))
    with pytest.raises(DataError, match="image 1: "):
        opened([good, b"no image"])
    with pytest.raises(DataError, match="the image of sample b: "):
        opened_batch([good, b"no image"], max_pixels=100, sample_ids=["a", "b"])


def test_what_a_diagnosis_reads_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("L", (5, 5), 9)))
    stream = io.BytesIO(path.read_bytes())
    entries: list[Any] = [path, [str(path)], stream, None]
    pictures, again = opened_batch(entries, max_pixels=100)
    assert [len(found) for found in pictures] == [1, 1, 1, 0]
    assert again[:2] == entries[:2]
    assert again[2] == pictures[2]
    assert opened(again[3]) == []


@pytest.mark.parametrize("lazy", [iter, lambda paths: map(Path, paths), lambda p: (x for x in p)])
def test_images_that_can_be_listed_once_are_read_again(tmp_path: Path, lazy: Any) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for value, path in enumerate(paths):
        path.write_bytes(encoded(Image.new("L", (5, 5), value)))
    pictures, again = opened_batch([lazy(paths), lazy(paths[:1])], max_pixels=100)
    assert [len(found) for found in pictures] == [2, 1]
    assert again == [paths, paths[:1]]


def test_one_image_for_several_prompts_is_told_apart_from_a_list(tmp_path: Path) -> None:
    image = Image.new("RGB", (5, 5))
    for single in (image, "ab", tmp_path, np.zeros((2, 5, 5), np.uint8), b"ab"):
        assert is_image(single)
        with pytest.raises(DataError, match="one image was given for a list of 2 prompts"):
            one_entry_each(single, ["p", "q"])
    assert one_entry_each((image, None), ["p", "q"]) == [image, None]
