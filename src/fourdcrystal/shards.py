"""Shards: files of many images, each found through an index (Zarr v3's sharding codec, index at the end).

zarr-python spends about a millisecond on each image of a shard, several times what encoding or decoding it takes, and a
data set has millions. So shards are written and single images read here; zarr-python reads the same files.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c
from numcodecs import blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

CODEC, LEVEL, FILTER = "zstd", 1, "bitshuffle"  # chosen by benchmarks/storage.py


def compressor(itemsize: int) -> BloscCodec:
    """The codec of a store's numbers, as its metadata name it."""
    return BloscCodec(cname=CODEC, clevel=LEVEL, shuffle=FILTER, typesize=itemsize)


def write(file: Path, images: NDArray[np.float16]) -> None:
    """Write one shard.

    Args:
        file: To write; folders are made.
        images: Rounded images, (..., qx, qy), in the order of the index.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    index, offset = [], 0
    with file.open("wb") as shard:
        for image in images.reshape(-1, *images.shape[-2:]):
            encoded = blosc.compress(np.ascontiguousarray(image), CODEC.encode(), LEVEL, blosc.BITSHUFFLE)
            shard.write(encoded)
            index.append((offset, len(encoded)))
            offset += len(encoded)
        table = np.array(index, "<u8").tobytes()
        shard.write(table + crc32c(table).to_bytes(4, "little"))


def read(file: Path, place: int, count: int, out: NDArray[np.float16]) -> None:
    """Read one image.

    Args:
        file: The shard.
        place: Of the image in the order of the index.
        count: Images in the shard.
        out: Where to put it, (qx, qy), contiguous.

    Raises:
        OSError: if the file can't be read.
        ValueError, RuntimeError: if what is read can't be such an image.
    """
    with file.open("rb", buffering=0) as shard:
        end = shard.seek(16 * (place - count) - 4, 2)  # (offset, length) of each image; the CRC's four bytes are last
        offset, length = np.frombuffer(shard.read(16), "<u8").tolist()
        if offset + length > end:
            raise ValueError("its index is wrong")
        shard.seek(offset)
        encoded = shard.read(length)
    if int.from_bytes(encoded[4:8], "little") != out.nbytes:  # Blosc's header
        raise ValueError("an image has the wrong size")
    blosc.decompress(encoded, out)


def place(index: Sequence[int], shape: Sequence[int]) -> int:
    """Place of an image in the order of a shard's index, from its position among ``shape`` images."""
    return int(np.ravel_multi_index(tuple(index), tuple(shape)))
