"""PNG maps and photographs, whole and damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from proscale_bench.data.pictures import read_id_map, read_image, read_label_map, read_size
from proscale_bench.errors import BenchError


def bomb(path: Path, side: int = 60_000) -> Path:
    """A PNG of some hundred bytes that claims billions of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 33)])
def test_ids_are_three_bytes(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    channels = np.random.default_rng(0).integers(0, 256, (*size, len(mode)), np.uint8)
    Image.fromarray(channels, mode).save(tmp_path / "map.png")
    red, green, blue = (channels[..., index].astype(np.uint32) for index in range(3))
    ids = read_id_map(tmp_path / "map.png")
    assert ids.dtype == np.uint32
    assert np.array_equal(ids, red + 256 * green + 65536 * blue)


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_labels_of_8_and_16_bits(tmp_path: Path, mode: str) -> None:
    labels = np.arange(12, dtype=np.uint8 if mode == "L" else np.uint16).reshape(3, 4) * 20
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert np.array_equal(read_label_map(tmp_path / "labels.png"), labels)


DEEP = {  # of more than 8 bits a channel, by the ending that can hold it
    "16 bits": ("png", np.full((4, 6), 40_000, np.uint16)),
    "12 bits in 16": ("png", np.full((4, 6), 4_000, np.uint16)),
    "16 bits TIFF": ("tif", np.full((4, 6), 40_000, np.uint16)),
    "32 bits TIFF": ("tif", np.full((4, 6), 70_000, np.int32)),
    "float TIFF": ("tif", np.full((4, 6), 0.5, np.float32)),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_photograph_of_more_than_8_bits_is_refused(tmp_path: Path, name: str) -> None:
    """Not read as all white, as Pillow's conversion would."""
    ending, pixels = DEEP[name]
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(pixels).save(path)
    for read in (read_image, read_size):
        with pytest.raises(BenchError, match=r"bits a channel") as caught:
            read(path)
        assert caught.value.hint is not None
        assert "0 to 255" in caught.value.hint


def deep_png(path: Path, *colour: int) -> Path:
    """Four pixels of one colour, of 16 bits a channel."""
    rows = b"".join(b"\0" + struct.pack(">3H", *colour) * 2 for _ in range(2))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def test_colours_of_16_bits_are_scaled(tmp_path: Path) -> None:
    """PNG says that 65,535 is white, and Pillow keeps the upper byte of each channel."""
    assert read_image(deep_png(tmp_path / "deep.png", 65_535, 32_768, 0)).tolist() == [[[255, 128, 0]] * 2] * 2


def test_a_panoptic_map_of_16_bits_is_refused(tmp_path: Path) -> None:
    """Upper bytes are other ids."""
    with pytest.raises(BenchError, match="PNG of 16 bits a channel"):
        read_id_map(deep_png(tmp_path / "deep.png", 1, 0, 0))


def test_a_palette_with_alpha_is_its_colours(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    palette = Image.fromarray(np.full((4, 6, 3), (10, 20, 30), np.uint8)).quantize(4)
    palette.save(tmp_path / "photo.png", transparency=bytes([0, 128]))
    assert (read_image(tmp_path / "photo.png") == [10, 20, 30]).all()
    assert not recwarn.list


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side
    image.save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg").shape == (6, 4, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535])
def test_a_photograph_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(read_image(path), expected)
    assert read_size(path) == expected.shape[:2]


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "photo.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12" + b"\xff" * 40)
    assert read_image(tmp_path / "photo.jpg").shape == (4, 6, 3)
    assert read_size(tmp_path / "photo.jpg") == (4, 6)


def test_the_size_of_a_png_is_read_off_its_header(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "photo.png")
    raw = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "photo.png").write_bytes(raw[:50])
    assert read_size(tmp_path / "photo.png") == (4, 6)


def test_a_grey_photograph_has_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(tmp_path / "photo.png")
    assert read_image(tmp_path / "photo.png").tolist() == np.full((4, 6, 3), 7).tolist()


@pytest.mark.parametrize("read", [read_id_map, read_image])
def test_what_cannot_be_read_is_named(tmp_path: Path, read: object) -> None:
    path = tmp_path / "map.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for damaged in (
        b"",
        b"not an image",
        whole[:20],
        whole[: len(whole) // 2],
        whole[:60] + b"\xff" * 40 + whole[100:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(BenchError, match=r"map\.png"):
            read(path)  # type: ignore[operator]


@pytest.mark.parametrize("read", [read_id_map, read_label_map, read_image])
def test_a_bomb_is_not_decoded(tmp_path: Path, read: object) -> None:
    with pytest.raises(BenchError, match=r"bomb\.png"):
        read(bomb(tmp_path / "bomb.png"))  # type: ignore[operator]


@pytest.mark.parametrize("mode", ["L", "P", "LA", "1"])
def test_an_id_map_is_in_colour(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "map.png")
    with pytest.raises(BenchError, match=f"mode {mode}") as problem:
        read_id_map(tmp_path / "map.png")
    assert "RGB" in (problem.value.hint or "")


def test_a_label_map_is_not_in_colour(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "map.png")
    with pytest.raises(BenchError, match="mode RGB"):
        read_label_map(tmp_path / "map.png")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(BenchError, match=str(path)):
            read_image(path)
