"""Whose fault an error is: what this package refuses is the user's, whatever else happens is a bug."""

import errno
import warnings

import pytest

from videogvt.core.mistakes import is_mistake, message, reported, short_warnings
from videogvt.core.registry import Registry, check_keys
from videogvt.core.trees import frozen
from videogvt.models.vocabulary import Vocabulary


def caught(function, *arguments):
    with pytest.raises(Exception) as found:
        function(*arguments)
    return found.value


def refuses():
    raise ValueError("not of the package")


@pytest.mark.parametrize("function, arguments, mistake", [
    (check_keys, ("a", ["b"], ["c"]), True),  # a raise statement of ours
    (Registry("thing").__getitem__, ("x",), True),
    (refuses, (), False),  # somebody else's
    (int, ("x",), False),  # the interpreter's
    (frozen({"a": 1}).__getitem__, ("b",), False),  # a library's
    (check_keys, ("a", 3, ["c"]), False),  # the interpreter's, in our code
    (Vocabulary, (), False),
])
def test_an_error_is_a_mistake_where_our_code_refuses(function, arguments, mistake):
    assert is_mistake(caught(function, *arguments)) == mistake


def test_what_the_file_system_refuses_is_a_mistake_and_what_is_missing_may_be_a_bug(tmp_path):
    (tmp_path / "file").write_text("")
    assert is_mistake(caught((tmp_path / "file" / "below").mkdir))
    assert is_mistake(OSError(errno.ENOSPC, "full", "somewhere"))
    assert not is_mistake(caught((tmp_path / "missing").read_text))


def test_a_mistake_ends_with_one_message_and_code_2(capsys):
    with pytest.raises(SystemExit) as left, reported():
        Registry("thing")["x"]
    assert left.value.code == 2
    assert capsys.readouterr().err == "Error: Unknown thing 'x'. Legal thing names: .\n"
    with pytest.raises(SystemExit), reported(with_traceback=True):
        Registry("thing")["x"]
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), reported():
        print(1 / 0)


def test_messages_name_paths_and_lose_quotation_marks(tmp_path):
    (tmp_path / "file").write_text("")
    assert message(caught((tmp_path / "file" / "below").mkdir)) == f"{tmp_path / 'file' / 'below'}: Not a directory."
    assert message(KeyError("a sentence")) == "a sentence"


def test_warnings_to_users_are_told_once_in_one_line(capsys):
    with short_warnings():
        for kind in (UserWarning, UserWarning, DeprecationWarning):
            warnings.warn("too dark", kind, stacklevel=1)
    assert capsys.readouterr().err == "Warning: too dark\n"
