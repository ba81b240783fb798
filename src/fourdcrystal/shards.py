"""Shards: files of many images, each found through an index (Zarr v3's sharding codec, index at the end).

zarr-python spends about a millisecond on each image of a shard, several times what encoding or decoding it takes, and a
data set has millions. So shards are written and single images read here; zarr-python reads the same files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from google_crc32c import value as crc32c
from numcodecs import blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

CODEC: Final = "zstd"  # this, LEVEL and FILTER were chosen by benchmarks/storage.py
LEVEL = 1
FILTER: Final = "bitshuffle"
CRC, ENTRY = 4, 16  # bytes of the index's checksum, and of each image's offset and length


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
    entries, offset = [], 0
    with file.open("wb") as shard:
        for image in images.reshape(-1, *images.shape[-2:]):
            encoded = blosc.compress(np.ascontiguousarray(image), CODEC.encode(), LEVEL, blosc.BITSHUFFLE)
            shard.write(encoded)
            entries.append((offset, len(encoded)))
            offset += len(encoded)
        table = np.array(entries, "<u8").tobytes()
        shard.write(table + crc32c(table).to_bytes(CRC, "little"))


def end(count: int) -> int:
    """Bytes of the index at the end of a shard of so many images."""
    return ENTRY * count + CRC


def index(tail: bytes, count: int) -> NDArray[np.uint64]:
    """Offset and length of each image, (count, 2), from the last :func:`end` bytes of a shard.

    Raises:
        ValueError: if they are no index.
    """
    table = tail[:-CRC]
    if len(tail) != end(count) or crc32c(table) != int.from_bytes(tail[-CRC:], "little"):
        raise ValueError("its index is damaged")
    return np.frombuffer(table, "<u8").reshape(count, 2)


def decode(encoded: bytes | memoryview, out: NDArray[np.generic]) -> None:
    """Decode what Blosc made of one chunk.

    Args:
        encoded: The bytes, all of them.
        out: Where to put it, contiguous.

    Raises:
        ValueError, RuntimeError: if it can't be such a chunk.
    """
    # Blosc believes its header, where both sizes are
    sizes = [int.from_bytes(encoded[at : at + 4], "little") for at in (4, 12)]
    if len(encoded) < 16 or sizes != [out.nbytes, len(encoded)]:
        raise ValueError("an image has the wrong size")
    blosc.decompress(encoded, out)


def decode_all(shard: bytes, out: NDArray[np.generic]) -> None:
    """Decode all images of a shard.

    Args:
        shard: The file's bytes.
        out: Where to put them, (images, qx, qy), contiguous.

    Raises:
        ValueError, RuntimeError: if it can't be such a shard.
    """
    view = memoryview(shard)
    entries = index(shard[-end(len(out)) :], len(out)).tolist()
    for (offset, length), image in zip(entries, out, strict=True):
        decode(view[offset : offset + length], image)


def place(index: Sequence[int], shape: Sequence[int]) -> int:
    """Place of an image in the order of a shard's index, from its position among ``shape`` images."""
    return int(np.ravel_multi_index(tuple(index), tuple(shape)))
