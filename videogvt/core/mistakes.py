"""Mistakes of the user are told in one message; what is our own fault keeps its traceback.

An error is the user's where a ``raise`` of this package (or of its command) has refused something: such a statement was
written with a message for the user. An error that the interpreter or a library comes to by itself, in our code or its
own, is a bug until somebody has looked at it. The exception are refusals of the file system, which name the path.
"""

import contextlib
import dis
import errno
import os
import sys
import traceback
import warnings
from collections.abc import Iterator

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMAND = os.path.join(os.path.dirname(PACKAGE), "run.py")
EXIT_CODE = 2

OURS = (AssertionError, AttributeError, NameError, NotImplementedError, TypeError)
"""Kinds of errors that are never about what the user gave."""

REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENAMETOOLONG)
"""What a file system says of a path that the user chose, or of its disk."""

RAISE = dis.opmap["RAISE_VARARGS"]


def is_mistake(error: BaseException) -> bool:
    """Whether an error that was caught is the user's."""
    if not isinstance(error, Exception) or isinstance(error, OURS):
        return False
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return True
    place = error.__traceback__
    if place is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    code = place.tb_frame.f_code
    path = os.path.abspath(code.co_filename)
    ours = path == COMMAND or path.startswith(PACKAGE + os.sep)
    return ours and code.co_code[place.tb_lasti] == RAISE


def message(error: BaseException) -> str:
    """What an error says, without its kind where the sentence is ours."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{error.filename}: {os.strerror(error.errno)}."
    if isinstance(error, KeyError) and error.args:  # whose text is in quotation marks
        return str(error.args[0])
    return str(error)


@contextlib.contextmanager
def reported(with_traceback: bool = False) -> Iterator[None]:
    """A context that ends the program with ``EXIT_CODE`` and one message when the user has made a mistake.

    Args:
      with_traceback: whether the traceback is printed too.
    """
    try:
        yield
    except Exception as error:
        if not is_mistake(error):
            raise
        if with_traceback:
            traceback.print_exc()
        print(f"Error: {message(error)}", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_CODE) from error


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """A context whose warnings to users of the package are told in one line each, without a place in the code."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(one.message) for one in caught if one.category is UserWarning):
        print(f"Warning: {text}", file=sys.stderr, flush=True)
