"""Files below a folder, links followed, and their names as text that can be stored, printed and read again."""

import collections
import dataclasses
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence

BREAKING = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are not UTF-8, separators of lines


@dataclasses.dataclass(frozen=True)
class _Found:
    """The files below a folder.

    Attributes:
      paths: relative to the folder, sorted; bytes that are not UTF-8 are escaped as ``os.fsdecode`` does.
      skipped: links that are not followed and further names of a file, and why.
      barren: folders directly below the folder in which nothing was found.
    """

    paths: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    barren: tuple[str, ...]


def find(root: pathlib.Path, suffixes: Sequence[str]) -> _Found:
    """The files with these suffixes, in lower case, below a folder; hidden ones and hidden folders are passed over.

    Links to folders are followed, after all that lies in the folder itself. No folder is read twice, and no file is
    found under two names: a link to a folder that is read already, as every loop is, is skipped, and so is every name
    of a file but one, by symbolic or by hard links. The one is no symbolic link if there is such a name, and the first.
    """
    names, skipped = [], []
    first, links, read = collections.deque([""]), collections.deque(), {}
    while first or links:
        folder = (first or links).popleft()
        status = os.stat(root / folder)
        if (status.st_dev, status.st_ino) in read:
            known = read[status.st_dev, status.st_ino]
            skipped.append((folder, f"leads to {printable(known) or 'the folder itself'}, which is read already"))
            continue
        read[status.st_dev, status.st_ino] = folder
        for name, is_folder, is_link in _entries(root, folder):
            path = os.path.join(folder, name)
            if is_folder:
                (links if is_link else first).append(path)
            elif os.path.splitext(name)[1].lower() in suffixes:
                names.append((is_link, path))
            elif is_link and not os.path.exists(root / path):
                skipped.append((path, "leads nowhere"))
    paths, doubles = _once(root, sorted(names))
    skipped += doubles
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    seen = {path for path in read.values() if path and "/" not in path}
    return _Found(tuple(paths), tuple(skipped), tuple(sorted(seen - tops)))


def _once(root: pathlib.Path, names: Sequence[tuple[bool, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Of names (whether it is a link, path) the first path of every file, sorted; and the others, with the reason."""
    paths, doubles, known = [], [], {}
    for _, path in names:
        if not os.path.exists(root / path):  # whoever reads it says so
            paths.append(path)
            continue
        status = os.stat(root / path)
        first = known.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            paths.append(path)
        else:
            doubles.append((path, f"is the same file as {printable(first)}, which is read already"))
    return sorted(paths), sorted(doubles)


def _entries(root: pathlib.Path, folder: str) -> Iterator[tuple[str, bool, bool]]:
    """Name, whether it is a folder, and whether it is a link, of what a folder shows."""
    with os.scandir(root / folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.startswith("."):
                yield entry.name, os.path.isdir(entry), entry.is_symlink()  # isdir knows links that go in circles


def printable(path: str) -> str:
    r"""A path as text on one line: control characters and bytes that are not UTF-8 as escapes (``\n``, ``\xe9``)."""
    return "".join(_escaped(letter) if unicodedata.category(letter) in BREAKING else letter for letter in path)


def printable_name(name: str) -> str:
    """The name of a folder as the name of a class: printable, and with escapes for blanks at its ends, which TFDS would
    take off."""
    middle = name.strip()
    start = name.index(middle) if middle else len(name)
    ends = name[:start], name[start + len(middle):]
    before, after = ("".join(f"\\x{ord(blank):02x}" for blank in end) for end in ends)
    return before + printable(middle) + after


def _escaped(letter: str) -> str:
    byte = ord(letter) - 0xDC00  # how ``os.fsdecode`` keeps a byte that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()


def digest(text: str) -> str:
    """SHA-256 of a path or another text, in hex; of a path's bytes as they are on disk."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
