"""Words beside frames, broken to the width that there is."""

from videogvt.report.strips import fitted


def test_words_that_fit_stay_as_they_are():
    assert fitted("best\na.mp4#0", 7, 5, len) == "best\na.mp4#0"


def test_long_lines_are_broken_and_of_too_many_the_middle_is_left_out():
    assert fitted("best\nabcdefghij", 4, 4, len) == "best\nabcd\nefgh\nij"
    text = fitted("best\n" + "abcd" * 20 + "last", 4, 5, len)
    assert text == "best\nabcd\nabc…\nabcd\nlast"
    assert all(len(line) <= 4 for line in text.splitlines())


def test_a_letter_wider_than_the_line_stands_alone():
    assert fitted("ab", 1, 9, lambda text: 2 * len(text)) == "a\nb"
