"""Msgpack files of trees: what Flax writes comes back, and nothing else comes in."""

import struct
import time
import tracemalloc

import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from flax import serialization

from videogvt.core.arrays import Damaged
from videogvt.pretrained.compat.msgpack import ENTRIES, read_msgpack


def array(shape, name, raw):
    return msgpack.ExtType(1, msgpack.packb((shape, name, raw)))


def read(path, data):
    path.write_bytes(data)
    return read_msgpack(path)


def test_what_flax_writes_comes_back(tmp_path):
    tree = {
        "step": 7, "rate": 0.5, "none": None, "on": True, "name": "x", "empty": {},
        "net": {"kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "half": np.ones(3, np.float16),
                "brain": jnp.full((2,), 1.5, jnp.bfloat16), "scalar": np.float32(2.5), "zero": np.zeros((0, 4)),
                "key": np.array([1, 2], np.uint32), "yes": np.array([True])},
    }
    found = read(tmp_path / "tree", serialization.msgpack_serialize(tree))
    assert {name: found[name] for name in tree if name != "net"} == {name: tree[name] for name in tree if name != "net"}
    for name, leaf in tree["net"].items():
        np.testing.assert_array_equal(found["net"][name], np.asarray(leaf))
        assert found["net"][name].dtype == np.asarray(leaf).dtype and found["net"][name].shape == np.shape(leaf)


def test_arrays_in_pieces_become_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 16)
    tree = {"kernel": np.arange(15, dtype=np.float32).reshape(3, 5)}
    data = serialization.msgpack_serialize(tree)
    assert b"__msgpack_chunked_array__" in data
    np.testing.assert_array_equal(read(tmp_path / "tree", data)["kernel"], tree["kernel"])
    wrong = data.replace(msgpack.packb("0") + msgpack.packb(3), msgpack.packb("0") + msgpack.packb(4))
    with pytest.raises(Damaged, match=r"in pieces claims the shape \(4, 5\); 15 numbers are there"):
        read(tmp_path / "tree", wrong)


ONE = np.ones(1, np.float32).tobytes()


@pytest.mark.parametrize("data, message", [
    (b"", "it is empty"),
    (msgpack.packb([1, 2]), "holds list, and not a tree"),
    (msgpack.packb({"a": 1}) + b"\x01", "extra"),
    (msgpack.packb({"a": [1]}), "'a' in it is a list; expected an array"),
    (msgpack.packb({"a": b"raw"}), "'a' in it is a bytes"),
    (msgpack.packb({"../a": 1}), "names are printable texts without '/'"),
    (msgpack.packb({b"a": 1}), "names are printable texts"),
    (msgpack.packb({"\x1b[2J": 1}), r"name '\\x1b\[2J'; names are printable"),
    (msgpack.packb({"a": {"__msgpack_chunked_array__": True, "shape": {str(axis): 1 for axis in range(70)},
                          "chunks": {"0": array((1,), "float32", ONE)}}}), "in pieces that are no arrays"),
    (b"\x82\xa1a\x01\xa1a\x02", "a name twice"),
    (b"\x81\xa2\xff\xfe\x01", "utf-8"),
    (msgpack.packb({"a": msgpack.ExtType(2, msgpack.packb((1.0, 2.0)))}), "extension of type 2"),
    (msgpack.packb({"a": msgpack.Timestamp(1)}), "Timestamp"),
    (msgpack.packb({"a": array((2,), "float32", ONE)}), r"claims the shape \(2,\) of float32, 8 bytes; 4 are there"),
    (msgpack.packb({"a": array((2**40,), "float32", ONE)}), "4,398,046,511,104 bytes; 4 are there"),
    (msgpack.packb({"a": array((-1,), "float32", ONE)}), "array of shape"),
    (msgpack.packb({"a": array((1.0,), "float32", ONE)}), "array of shape"),
    (msgpack.packb({"a": array((True,), "float32", ONE)}), "array of shape"),
    (msgpack.packb({"a": array((1,), "object", b"\0" * 8)}), "array of 'object'; numbers are"),
    (msgpack.packb({"a": array((1,), "O", b"\0" * 8)}), "array of 'O'"),
    (msgpack.packb({"a": array((1,), "<U4", b"\0" * 16)}), "array of '<U4'"),
    (msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb({"shape": 1}))}), "max_map_len"),
    (msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb((1, 2)))}), "described by its shape, dtype and bytes"),
    (msgpack.packb({"a": msgpack.ExtType(1, b"")}), "incomplete|Unpack"),
    (b"\x81\xa1a\xdd\xff\xff\xff\xff", "exceeds max_array_len"),
    (b"\x81\xa1a\xdf\xff\xff\xff\xff", "exceeds max_map_len"),
    (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "exceeds max_ext_len|incomplete"),
    (b"\x81\xa1a\xdb\xff\xff\xff\xff", "exceeds max_str_len|incomplete"),
    (b"\x81\xa1a" * 70 + b"\x01", "nested more than 64 deep"),
    (b"\x81\xa1a" * 5000 + b"\x01", "stack|nested|recursion"),
    (b"\x91" * 5000 + b"\x01", "stack|nested|recursion"),
    (b"cos\nsystem\n(S'touch owned'\ntR.", "."),
    (b"PK\x03\x04" + b"\0" * 100, "."),
])
def test_everything_else_is_refused_at_once_and_for_nothing(tmp_path, monkeypatch, data, message):
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(Damaged, match=f"(?i){message}"):
        read(tmp_path / "tree", data)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert time.monotonic() - begun < 5
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_flood_of_names_is_refused(tmp_path):
    many = b"\xdf" + struct.pack(">I", ENTRIES) + b"".join(msgpack.packb(str(n)) + b"\xc0" for n in range(ENTRIES))
    assert len(read(tmp_path / "tree", many)) == ENTRIES
    with pytest.raises(Damaged, match="more than 100,000 names"):
        read(tmp_path / "tree", b"\x81\xa1a" + many)
    with pytest.raises(Damaged, match="max_map_len"):
        read(tmp_path / "tree", b"\xdf" + struct.pack(">I", ENTRIES + 1) + many[5:] + b"\xa1a\xc0")


def test_every_cut_of_a_file_is_refused(tmp_path):
    data = serialization.msgpack_serialize({"a": {"kernel": np.ones((3, 4), np.float32)}, "b": np.zeros(2), "c": 1})
    for end in range(len(data)):
        with pytest.raises(Damaged):
            read(tmp_path / "tree", data[:end])


def test_random_damage_ends_in_a_tree_or_in_a_refusal(tmp_path):
    tree = {"params": {"net": {"kernel": np.ones((3, 4), np.float32), "bias": np.zeros(4, np.float16)}}, "step": 300}
    sound, rng, refused = serialization.msgpack_serialize(tree), np.random.default_rng(0), 0
    for _ in range(500):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        try:
            assert isinstance(read(tmp_path / "tree", bytes(data)), dict)
        except Damaged:
            refused += 1
    assert 125 < refused < 500
