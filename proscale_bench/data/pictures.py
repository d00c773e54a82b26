"""Reading images and PNG maps that somebody else wrote: no bomb, no half image, and every fault named with its file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proscale_bench.errors import BenchError
from proscale_bench.files import read_regular_file

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 1 << 26  # 67 million: 8192 x 8192; a PNG of some kilobytes can claim thousands of times as many
MAX_BYTES = 1 << 28
THREE_BYTES = np.uint32(0xFFFFFF)  # COCO's panoptic format: id = R + 256 G + 65536 B
# By Pillow's mode and the header's bit depth and colour type.
DECODED_BY_KORNIA = {("RGB", b"\x08\x02"): "rgb", ("L", b"\x08\x00"): "mono"}

DEPTH = 24  # the place of a PNG's bits a channel, in its header
ORIENTATION = 0x0112  # EXIF's tag: how the camera was held
LYING = (5, 6, 7, 8)

IdMap = NDArray[np.uint32]
LabelMap = NDArray[np.uint8] | NDArray[np.uint16]
Pixels = NDArray[np.uint8]


def read_id_map(path: Path) -> IdMap:
    """The segment ids of a panoptic PNG, [H, W]; alpha is ignored.

    Raises:
        BenchError: unreadable, too large, or not an RGB image.
    """
    pixels: Pixels = _pixels(path, "RGB", ("RGB", "RGBA"), "a panoptic map is an RGB PNG, id = R + 256 G + 65536 B")
    height, width, channels = pixels.shape
    # Four bytes from each pixel's first on, read as one number: a third of the time of multiplying three channels.
    # The last pixel has no fourth byte to lend, and stands apart.
    ids = np.empty(height * width, np.uint32)
    overlapping = np.ndarray((ids.size - 1,), "<u4", np.ascontiguousarray(pixels), strides=(channels,))
    np.bitwise_and(overlapping, THREE_BYTES, out=ids[:-1])
    red, green, blue = pixels[-1, -1].tolist()
    ids[-1] = red | green << 8 | blue << 16
    return ids.reshape(height, width)


def id_colors(ids: NDArray[Any]) -> Pixels:
    """A map of segment ids as the pixels of a panoptic PNG, [H, W, 3]: what `read_id_map` reads."""
    return np.stack([ids.astype(np.uint32) >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def read_label_map(path: Path) -> LabelMap:
    """The class indices of a semantic PNG, [H, W]: grey of 8 or 16 bits, or a palette's indices.

    Raises:
        BenchError: unreadable, too large, or in colour.
    """
    return _pixels(path, None, ("L", "P", "1", "I;16", "I"), "a semantic map is a grey PNG of class indices")


def read_image(path: Path) -> Pixels:
    """A photograph as RGB, [H, W, 3], turned as its EXIF orientation says.

    Raises:
        BenchError: unreadable, cut off, too large, or of more than 8 bits a channel.
    """
    with opened(path) as image:
        _require_8_bits(path, image)
        return _loaded(path, lambda: _upright(image).convert("RGB"))


def read_size(path: Path) -> tuple[int, int]:
    """The height and width that `read_image` would find, from the header.

    Raises:
        BenchError: unreadable, no image, too large, or of more than 8 bits a channel.
    """
    with opened(path) as image:
        _require_8_bits(path, image)
        size = _stored_size(image)
        # Of a PNG that says nothing before its pixels, Pillow would decode them all to look behind them.
        silent = image.format == "PNG" and "exif" not in image.info
        return size if silent or _orientation(image) not in LYING else size[::-1]


def opened(path: Path, raw: bytes | None = None) -> Image:
    """An image whose header was read: size and mode are known, no pixel is decoded.

    Args:
        raw: the file's bytes, where they were read before.

    Raises:
        BenchError: unreadable, no image, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    raw = read_regular_file(path, MAX_BYTES) if raw is None else raw
    try:
        image = Image.open(io.BytesIO(raw))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = "not an image" if isinstance(error, UnidentifiedImageError) else error
        raise BenchError(f"{path}: {said}", "the file is damaged: copy it again") from error
    if image.width * image.height > MAX_PIXELS:
        raise BenchError(
            f"{path}: {image.width:,} x {image.height:,} pixels", f"images have at most {MAX_PIXELS:,} pixels"
        )
    return image


def _require_8_bits(path: Path, image: Image) -> None:
    """Refuse grey of 16 or 32 bits, integer or float: which of its values is white, no file says.

    Pillow would cut every value at 255, so that nearly all pixels become white, or black where white is 1.0. Colours of
    16 bits are scaled: it keeps the upper byte.
    """
    if image.mode.startswith(("I", "F")):
        bits = 16 if image.mode.startswith("I;16") else 32
        raise BenchError(
            f"{path}: {image.format} of mode {image.mode}, {bits} bits a channel",
            "a photograph has 8 bits a channel: scale its values to 0 to 255 and save it again",
        )


def _stored_size(image: Image) -> tuple[int, int]:
    """Height and width as the pixels are stored; of a TIFF some versions of Pillow tell them as they are turned."""
    from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

    if isinstance(image, TiffImageFile):
        return int(image.tag_v2[IMAGELENGTH]), int(image.tag_v2[IMAGEWIDTH])
    return image.height, image.width


def _upright(image: Image) -> Image:
    """Turned as EXIF says. Where that is damaged the pixels are taken as they are, as detectron2 takes them."""
    from PIL.Image import Transpose

    image.load()
    image.info.pop("transparency", None)  # Pillow would warn of a palette with alpha, which is ignored
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image) -> int:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # whatever Pillow stumbles on
        return 1
    return orientation if isinstance(orientation, int) else 1


def _pixels(path: Path, kind: str | None, modes: tuple[str, ...], hint: str) -> NDArray[Any]:
    """A map's pixels: by kornia's decoder where it reads the format, since it takes a sixth of Pillow's time."""
    raw = read_regular_file(path, MAX_BYTES)
    with opened(path, raw) as image:
        if image.format != "PNG" or image.mode not in modes:
            raise BenchError(f"{path}: {image.format} of mode {image.mode}", hint)
        if kind is not None and raw[DEPTH] > 8:  # Pillow would keep the upper bytes, and read other ids
            raise BenchError(f"{path}: PNG of {raw[DEPTH]} bits a channel", hint)
        layout = DECODED_BY_KORNIA.get((image.mode, raw[24:26]))
        if layout is not None:
            from kornia_rs.io import decode_image_png_u8

            try:
                pixels = np.asarray(decode_image_png_u8(raw, (image.height, image.width), layout))
                return pixels if layout == "rgb" else pixels[..., 0]
            except Exception:  # Pillow reads it, or says what is wrong with it
                pass
        return _loaded(path, lambda: image if kind is None else image.convert(kind))


def _loaded(path: Path, decode: Callable[[], Image]) -> NDArray[Any]:
    try:
        return np.asarray(decode())
    except Exception as error:  # Pillow lets through whatever a damaged file makes it stumble on
        raise BenchError(f"{path}: {error}", "the file is damaged: copy it again") from error
