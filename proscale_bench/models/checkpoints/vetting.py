"""A look at a checkpoint's file before it is loaded, without torch: which format it has, and whether it is data alone.

What is refused here is refused at once: importing torch takes seconds and 800 MiB.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from proscale_bench.errors import BenchError
from proscale_bench.models.checkpoints.same_file import SameFile, open_same
from proscale_bench.models.checkpoints.state import place_of_weights, require_whole_arrays
from proscale_bench.models.checkpoints.unpickle import NUMPY, TORCH, DataUnpickler, Rebuilt, RefusedError

MAX_PICKLE_BYTES = 64 * 2**20  # beside the tensors: the largest that we know has 1 MiB
TORCH_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # its magic number, pickled
SUPPORTED = "supported: .pth, .pkl (detectron2), .safetensors, and Hugging Face folders"

Format = Literal["zip", "legacy", "safetensors", "pickle"]  # the first two are torch's


def vet(path: Path) -> None:
    """Refuse a file that cannot be weights; of a Hugging Face folder, its pickles.

    Raises:
        BenchError: unreadable, of no known format, or more than data.
    """
    for file in sorted(path.glob("pytorch_model*.bin")) if path.is_dir() else [path]:
        with open_same(file) as source, refusals(file):
            match format_of(source):
                case "zip":
                    vet_archive(source)
                case "legacy":
                    vet_legacy(source)
                case "pickle":
                    with whole(file, "pickle"), source.mapped() as memory:
                        require_whole_arrays(file, DataUnpickler(memory, NUMPY).load(), source.size)


def format_of(source: SameFile) -> Format:
    """The format of a file by its first bytes.

    Raises:
        BenchError: none that is known.
    """
    head = source.file.read(16)
    if not head:
        raise BenchError(f"{source.path}: the file is empty", SUPPORTED)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(TORCH_LEGACY[:-1]):
        return "legacy"
    if head[8:9] == b"{":
        return "safetensors"
    if head[:1] in (b"\x80", b"(", b"}", b"c"):  # any protocol of pickle
        return "pickle"
    raise BenchError(f"{source.path}: not a checkpoint: it begins with {head[:8]!r}", SUPPORTED)


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Have a refused pickle say of which file it is."""
    try:
        yield
    except RefusedError as error:
        raise BenchError(
            f"{path}: refused: it asks for {str(error)[:200]}, which weights do not need",
            "nothing was executed; if you trust the file, save its weights alone, as safetensors",
        ) from error


@contextmanager
def whole(path: Path, kind: str) -> Iterator[None]:
    """Have every error be one of a damaged file, but for what we refuse: readers raise anything on such files."""
    try:
        yield
    except (RefusedError, BenchError):
        raise
    except Exception as error:
        raise BenchError(f"{path}: not a whole {kind}: {first_line(error)}", "download it again") from error


def first_line(error: BaseException) -> str:
    if isinstance(error, (EOFError, pickle.UnpicklingError)) and not str(error):
        return "it ends too early"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def vet_legacy(source: SameFile) -> None:
    """A dry run of `torch.save`'s container before 1.6: four pickles, then the tensors' bytes."""
    with whole(source.path, "torch file"), source.mapped() as file:
        for _ in range(4):  # magic number, protocol, system, then the document
            machine = DataUnpickler(file, TORCH)
            document = machine.load()
        place_of_weights(source.path, document, (Rebuilt,))
    if sum(machine.storages.values()) > source.size:
        raise BenchError(f"{source.path}: its tensors claim more bytes than the file has", "download it again")


def vet_archive(source: SameFile) -> dict[str, zipfile.ZipInfo]:
    """A zip that stores its entries as they are, and one pickle that asks for nothing but tensors: its dry run.

    Returns:
        The entries by their names below the archive's folder.
    """
    path = source.path
    with whole(path, "torch file"), zipfile.ZipFile(source.file) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise BenchError(f"{path}: a TorchScript archive: a program", "save the model's state_dict")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise BenchError(f"{path}: a compressed archive, not one of torch's", SUPPORTED)
        if sum(entry.file_size for entry in entries) > source.size:
            raise BenchError(f"{path}: its entries claim more bytes than the file has")
        records = {entry.filename.partition("/")[2]: entry for entry in entries}
        if "data.pkl" not in records:
            raise BenchError(f"{path}: a zip archive, but not a checkpoint of torch", SUPPORTED)
        if records["data.pkl"].file_size > MAX_PICKLE_BYTES:
            raise BenchError(f"{path}: its pickle, of names and shapes, has over {MAX_PICKLE_BYTES >> 20} MiB")
        if len(records) < len(entries):
            raise BenchError(f"{path}: its table of contents can be read in two ways", "save its weights anew")
        with archive.open(records["data.pkl"]) as file:
            machine = DataUnpickler(cast(BinaryIO, file), TORCH)
            place_of_weights(path, machine.load(), (Rebuilt,))
    for key, claimed in machine.storages.items():
        found = records[f"data/{key}"].file_size if f"data/{key}" in records else 0
        if claimed > found:
            what = f"the record data/{key} has {found:,} bytes, and is shorter than its tensor, of {claimed:,}"
            raise BenchError(f"{path}: {what}", "download it again")
    return records
