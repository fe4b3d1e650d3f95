"""Why a checkpoint could not be read or written: whether it is broken, or could only not be read now; a full disk.

A broken one is set aside. For anything else (a disk or network that fails, memory, code that has changed since) it may
be perfectly good, and moving it would lose steps.
"""

import json
import re

_BROKEN = (FileNotFoundError, NotADirectoryError, IsADirectoryError, json.JSONDecodeError, UnicodeDecodeError)
STATUS = re.compile(r"(DATA_LOSS|NOT_FOUND|OUT_OF_RANGE|(FAILED_PRECONDITION|INVALID_ARGUMENT): .*(Zstd|decoding))\b")
"""What TensorStore's errors begin with where bytes are damaged, absent or fewer than they should be."""


def is_broken(error: BaseException) -> bool:
    """Whether an error of reading says that the files themselves are damaged; its causes are asked too."""
    while error is not None:
        if isinstance(error, _BROKEN) or STATUS.match(str(error)):
            return True
        error = error.__cause__  # not what else went wrong before, which may be a file that need not be there
    return False


def is_full(error: BaseException) -> bool:
    """Whether an error of writing says that the disk, or one's share of it, is full."""
    return any(text in str(error) for text in ("No space left on device", "Disk quota exceeded"))


def first_line(error: BaseException) -> str:
    """Type and message of an error, at most 200 characters of its first line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
