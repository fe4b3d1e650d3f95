"""Arrays from files that nobody vouches for: sound ones are read as NumPy does, all others are refused in one line."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from videogvt.core.arrays import Damaged, read_npy, read_npz

ARRAYS = {
    "floats": np.arange(24, dtype=">f4").reshape(2, 3, 4), "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "texts": np.array(["été", "b" * 200]), "bytes": np.array([b"a", b"bc"]), "none": np.zeros((0, 3)),
    "one": np.float16(2), "empty": np.array([""]), "flags": np.array([True, False]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)
    assert read_npz(io.BytesIO((tmp_path / "a.npz").read_bytes()), ("one", "no")).keys() == {"one"}
    np.save(tmp_path / "a.npy", ARRAYS["floats"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), ARRAYS["floats"])


def header(shape, descr="<f4"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def packed(content, name="x.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def claiming(size):
    """An archive whose member claims so many bytes when it is unpacked."""
    content = bytearray(packed(header((4,)) + bytes(16)))
    for place in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content[place : place + 4] = struct.pack("<I", size)
    return bytes(content)


class Trap:
    def __reduce__(self):
        return (open, ("/tmp/never-written-by-a-pickle", "w"))


REFUSED = {
    "a giant by its shape": (packed(header((1 << 50,)) + bytes(16)), "claims the shape .* 16 are there"),
    "a giant by its size": (claiming(1 << 31), "claims 2,147,483,648 bytes, more than"),
    "overflow": (packed(header((1 << 62, 1 << 62)) + bytes(16)), "claims the shape"),
    "negative": (packed(header((-4, -1)) + bytes(16)), "claims the shape"),
    "objects": (packed(header((1,), "|O") + pickle.dumps(Trap())), "Python objects"),
    "a pickle": (pickle.dumps(Trap()), "zip"),
    "no array": (packed(b"text", "notes.txt"), "no array"),
    "letters": (packed(header((1,), "<U1") + struct.pack("<I", 0x7FFFFFFF)), "letters that do not exist"),
    "half a letter": (packed(header((1,), "<U1") + struct.pack("<I", 0xD800)), "letters that do not exist"),
    "a later format": (packed(b"\x93NUMPY\x03\x00" + bytes(60)), "version"),
    "a header of code": (packed(b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"__import__('os')\n   "), "header"),
    "nothing": (b"", "zip"),
    "cut off": (packed(header((4,)) + bytes(16))[:-10], "zip"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_all_else_is_refused(tmp_path, kind):
    content, message = REFUSED[kind]
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(Damaged, match=message) as refused:
        read_npz(tmp_path / "a.npz")
    assert "\n" not in str(refused.value)


def test_a_changed_byte_is_noticed(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(1000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[4000] ^= 1
    with pytest.raises(Damaged, match="CRC"):
        read_npz(io.BytesIO(content))


def test_missing_files_keep_their_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        read_npy(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(header((1 << 40,)) + bytes(16))
    with pytest.raises(Damaged, match="16 are there"):
        read_npy(tmp_path / "b.npy")
