"""Arrays from ``.npy`` and ``.npz`` files that nobody vouches for: no code is run, no claim believed.

``numpy.load`` allocates what a header claims before it looks whether so much is there, and what it and ``zipfile``
raise at a damaged file is not said anywhere. Here an array is as large as its file says and shows, or is refused.
"""

import math
import os
import pathlib
import zipfile
from collections.abc import Collection
from typing import BinaryIO

import numpy as np

DEFLATE = 1032  # the most that a packed byte can become
_SLACK = 1024
GONE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class Damaged(ValueError):
    """An array file cannot be read; the text says why, without the file's name, as the end of a sentence."""


def read_npz(file: os.PathLike | BinaryIO, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, or those of the names that it has.

    Raises:
      Damaged: it is no such file, it is damaged, or it holds something else than plain arrays.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _member(archive, info) for name, info in members.items() if names is None or name in names}
    except (Damaged, *GONE):
        raise
    except Exception as error:  # of zipfile, zlib, lzma, numpy; a file of the user's is the cause of all
        raise Damaged(_reason(error)) from error


def read_npy(path: os.PathLike) -> np.ndarray:
    """The array of an ``.npy`` file; raises as ``read_npz`` does."""
    path = pathlib.Path(path)
    try:
        with path.open("rb") as stream:
            return _array(stream, path.stat().st_size, "the array")
    except (Damaged, *GONE):
        raise
    except Exception as error:
        raise Damaged(_reason(error)) from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if not info.filename.endswith(".npy"):
        raise Damaged(f"{info.filename!r} in it is no array")
    name = repr(info.filename.removesuffix(".npy"))
    if info.file_size > DEFLATE * info.compress_size + _SLACK:
        raise Damaged(f"{name} claims {info.file_size:,} bytes, more than {info.compress_size:,} packed ones can be")
    with archive.open(info) as stream:
        array = _array(stream, info.file_size, name)
        stream.read(1)  # at its end the checksum is compared
        return array


def _array(stream: BinaryIO, size: int, name: str) -> np.ndarray:
    """The array of a stream of so many bytes."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise Damaged(f"{name} is of version {version} of the format; 1.0 and 2.0 are read")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, by_columns, dtype = read_header(stream)
    except Exception as error:
        raise Damaged(f"{name} has a header that cannot be read: {_reason(error)}") from error
    if dtype.hasobject:
        raise Damaged(f"{name} holds Python objects (or rows of unequal lengths), which are not loaded")
    claimed, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or claimed != there:
        raise Damaged(f"{name} claims the shape {shape} of {dtype}, {claimed:,} bytes; {there:,} are there")
    flat = np.empty(claimed, np.uint8)
    filled = 0
    while filled < claimed and (read := stream.readinto(memoryview(flat)[filled:])):
        filled += read
    if filled < claimed:
        raise Damaged(f"{name} ends after {filled:,} of {claimed:,} bytes")
    array = flat.view(dtype) if claimed else np.empty(math.prod(shape), dtype)
    return _sound(array.reshape(shape, order="F" if by_columns else "C"), name)


def _sound(array: np.ndarray, name: str) -> np.ndarray:
    """The array, if its texts are texts."""
    if array.dtype.kind == "U":
        try:
            "".join(array.ravel().tolist()).encode()
        except (ValueError, SystemError) as error:  # the latter of numbers that no letter has
            raise Damaged(f"{name} holds texts with letters that do not exist") from error
    return array


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
