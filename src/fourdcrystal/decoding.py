"""Arrays of a store, decoded from their files' bytes with the codecs that the format allows (docs/data_format.md).

zarr-python reads the same arrays, but takes milliseconds for each, and a data set has thousands of stores.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numcodecs import VLenUTF8, Zstd
from numpy.typing import NDArray

from fourdcrystal import shards

NUMBERS, TEXT, SHARDED = ("bytes", "blosc"), ("vlen-utf8", "zstd"), ("sharding_indexed",)
MOST = 1_000_000  # chunks of an array


def files(about: Mapping[str, Any]) -> list[str]:
    """Names of an array's files that hold chunks, in the order of the chunks.

    Args:
        about: The array's metadata, its ``zarr.json``.

    Raises:
        ValueError: if there are more than any of our stores has; damaged metadata can ask for any number.
    """
    shape, chunk = about["shape"], _chunk(about)
    grid = [math.ceil(n / m) for n, m in zip(shape, chunk, strict=True)]
    if math.prod(grid) > MOST:
        raise ValueError(f"has {math.prod(grid)} chunks; {MOST} are the most that are read")
    return ["/".join(("c", *map(str, at))) for at in np.ndindex(*grid)]


def file(about: Mapping[str, Any], content: bytes) -> NDArray[Any]:
    """What one file of an array holds, in the shape of a chunk.

    Raises:
        ValueError, RuntimeError: if it is encoded otherwise than the format says, or damaged.
    """
    names, shape = _names(about["codecs"]), _chunk(about)
    if names == TEXT:
        return VLenUTF8().decode(Zstd().decode(content)).reshape(shape)
    out = np.empty(shape, np.dtype(about["data_type"]).newbyteorder("<"))
    if names == NUMBERS:
        shards.decode(content, out.reshape(-1))
        return out
    inner = about["codecs"][0]["configuration"] if names == SHARDED else {}
    image = inner.get("chunk_shape", ())
    if list(image) != [1] * (len(shape) - 2) + list(shape[-2:]) or _names(inner["codecs"]) != NUMBERS:
        raise ValueError(f"is encoded with {', '.join(names)}, otherwise than the format says")
    shards.decode_all(content, out.reshape(-1, *shape[-2:]))
    return out


def array(about: Mapping[str, Any], contents: Iterable[bytes]) -> NDArray[Any]:
    """A whole array whose chunks follow each other along its first axis.

    Args:
        about: Its metadata.
        contents: Bytes of its :func:`files`.

    Raises:
        ValueError, RuntimeError: as :func:`file`.
    """
    pieces = [file(about, content) for content in contents]
    if not pieces:
        return np.empty(about["shape"], about["data_type"])
    whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    if list(whole.shape) != list(about["shape"]):
        raise ValueError(f"has chunks of the shape {whole.shape}, not {about['shape']}")
    return whole


def _chunk(about: Mapping[str, Any]) -> list[int]:
    return list(about["chunk_grid"]["configuration"]["chunk_shape"])


def _names(codecs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(codec["name"] for codec in codecs)
