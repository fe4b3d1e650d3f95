"""Ways to damage a file: cut off, bits flipped, parts exchanged, numbers in headers that are not so."""

import io
import pickle
import random
import re
import struct
import zipfile

VIDEO_KINDS = ("truncated", "bits", "boxes", "headers")
ARRAY_KINDS = ("truncated", "bits", "members", "headers", "pickle")
NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex")
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SHAPES = ((1 << 40,), (-1,), (0,), (1 << 62, 1 << 62), (3, 1 << 30), (), (7,), (2, 8, 16, 0, 3), (1,) * 40)
TYPES = ("<f4", "|u1", "|O", "<U7", "<c16", "|S0", "<M8[s]", "|V64", "<f16", ">i2", "no type", "<U1")


def mutated(content: bytes, kind: str, rng: random.Random, canary: str = "") -> bytes:
    """The content, damaged.

    Args:
      content: of a file.
      kind: of the damage, one of ``VIDEO_KINDS`` or, for ``.npz``, of ``ARRAY_KINDS``.
      rng: draws what is damaged.
      canary: the file that code in a pickle would make.
    """
    if kind == "truncated":
        return _truncated(content, rng)
    if kind == "bits":
        return _flipped(content, rng)
    if kind == "boxes":
        return _exchanged(content, rng)
    if kind == "headers":
        return (_npy_headers if content[:2] == b"PK" and rng.random() < 0.7 else _numbers)(content, rng)
    return (_members if kind == "members" else _pickled)(content, rng, canary)


def _truncated(content: bytes, rng: random.Random) -> bytes:
    """Without its end, its beginning or a part in the middle."""
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return rng.choice((content[:stop], content[:stop], content[start:], content[:start] + content[stop:]))


def _flipped(content: bytes, rng: random.Random) -> bytes:
    """With one to some hundred flipped bits, anywhere or at its beginning or end."""
    made = bytearray(content)
    low, high = rng.choice(((0, len(made)), (0, min(512, len(made))), (max(0, len(made) - 1024), len(made))))
    for _ in range(round(2 ** rng.uniform(0, 8))):
        made[rng.randrange(low, high)] ^= 1 << rng.randrange(8)
    return bytes(made)


def _numbers(content: bytes, rng: random.Random) -> bytes:
    """With other numbers where headers are: at the beginning, at the end or behind the name of a box."""
    made = bytearray(content)
    names = [found.end() for found in re.finditer(rb"(tkhd|mvhd|mdhd|stsd|avc1|avcC|elst|stts|ctts|stsz|stco|stsc|pasp|"
                                                  rb"avih|strh|strf|idx1|trun|tfhd|NUMPY|PK..)", content, re.DOTALL)]
    for _ in range(rng.randint(1, 6)):
        near = rng.choice(names) if names and rng.random() < 0.7 else rng.choice((0, max(0, len(made) - 400)))
        at = min(near + rng.randrange(96), len(made) - 4)
        value = rng.choice((*EXTREMES, rng.getrandbits(32)))
        width, order = rng.choice(((1, ">"), (2, ">"), (4, ">"), (4, "<"), (2, "<")))
        code = {1: "B", 2: "H", 4: "I"}[width]
        made[at : at + width] = struct.pack(order + code, value & (1 << 8 * width) - 1)
    return bytes(made)


def boxes(content: bytes, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
    """Where the boxes of an mp4 file are, those in boxes too; nothing of other files."""
    found, at, stop = [], start, len(content) if stop is None else stop
    while at + 8 <= stop:
        size, name = struct.unpack(">I4s", content[at : at + 8])
        if size < 8 or at + size > stop or not name.isalnum():
            break
        found.append((at, at + size))
        found += boxes(content, at + 8, at + size) if name in NESTED else []
        at += size
    return found


def _exchanged(content: bytes, rng: random.Random) -> bytes:
    """With two boxes exchanged, one of them left out or doubled; two stretches where there are no boxes."""
    places = boxes(content)
    if len(places) < 3:
        cuts = sorted(rng.sample(range(len(content)), 4))
        places = [(cuts[0], cuts[1]), (cuts[2], cuts[3])]
    one, other = sorted(rng.sample(places, 2))
    if one[1] > other[0]:  # one lies in the other
        return content[: other[0]] + content[other[1]:]
    first, between, second = content[slice(*one)], content[one[1] : other[0]], content[slice(*other)]
    middle = rng.choice((second + between + first, second + between, first + between + first + second))
    return content[: one[0]] + middle + content[other[1]:]


def _archive(members: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def _unpacked(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _npy_headers(content: bytes, rng: random.Random) -> bytes:
    """A sound archive, in which one array's header claims something else."""
    members = _unpacked(content)
    place = rng.randrange(len(members))
    name, data = members[place]
    length = struct.unpack("<H", data[8:10])[0]
    text = data[10 : 10 + length].decode()
    if rng.random() < 0.6:
        text = re.sub(r"'shape': \(.*?\)", f"'shape': {rng.choice(SHAPES)}", text)
    if rng.random() < 0.6:
        text = re.sub(r"'descr': '.*?'", f"'descr': '{rng.choice(TYPES)}'", text)
    if rng.random() < 0.2:
        text = rng.choice((text.replace("{", ""), "{" * 5000, "__import__('os').getcwd()\n", text + "\0", ""))
    header = text.encode()
    members[place] = name, data[:8] + struct.pack("<H", len(header)) + header + data[10 + length:]
    return _archive(members, rng)


def _members(content: bytes, rng: random.Random, canary: str) -> bytes:
    """A sound archive whose members are exchanged, renamed, doubled, missing or no arrays."""
    members = _unpacked(content)
    one, other = rng.randrange(len(members)), rng.randrange(len(members))
    if (way := rng.randrange(5)) == 0:
        members[one], members[other] = (members[one][0], members[other][1]), (members[other][0], members[one][1])
    elif way == 1:
        members.pop(one)
    elif way == 2:
        members[one] = rng.choice(("x.npy", "../x.npy", "\ufffd/\n.npy", "notes.txt", "a/b.npy")), members[one][1]
    elif way == 3:
        members[one] = members[one][0], rng.randbytes(rng.randrange(200))
    else:
        members.append((f"{members[one][0].removesuffix('.npy')}/deeper.npy", members[other][1]))
    return _archive(members, rng)


class Trap:
    """What makes a file when a pickle of it is loaded."""

    def __init__(self, canary: str):
        self.canary = canary

    def __reduce__(self):
        return open, (self.canary, "w")


def _pickled(content: bytes, rng: random.Random, canary: str) -> bytes:
    """A pickle with code in it: as an array of objects, as a member, or as the file itself."""
    code = pickle.dumps([Trap(canary)], protocol=rng.randrange(5))
    if rng.random() < 0.2:
        return code
    members = _unpacked(content)
    place = rng.randrange(len(members))
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    members[place] = members[place][0], rng.choice((header + code, code))
    return _archive(members, rng)
