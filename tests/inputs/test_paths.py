"""Files below a folder: links, loops, and names in whatever bytes a file system allows."""

import os
import sys

import numpy as np
import pytest

from tests.inputs.test_videos import ALL_TRAIN, greys, train_clips, write_video
from videogvt.inputs.paths import find, printable, printable_name
from videogvt.inputs.sources import RecordSource
from videogvt.inputs.videos import VideoFolderConfig, prepared_videos

SUFFIXES = (".avi",)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_linked_folders_are_read_once(tmp_path):
    root = tmp_path / "in"
    touch(root, "walk/a.avi", "walk/deep/b.AVI", "walk/.hidden/c.avi", "walk/notes.txt", "walk/folder.avi/d.avi")
    touch(tmp_path, "elsewhere/e.avi")
    (root / "run").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root / "walk")
    (root / "walk/deep/up").symlink_to(root)
    (root / "gone").symlink_to(tmp_path / "nowhere")
    (root / "self").symlink_to(root / "self")
    (root / "walk/linked.avi").symlink_to(tmp_path / "elsewhere/e.avi")
    (root / "bare").mkdir()
    found = find(root, SUFFIXES)
    assert found.paths == ("run/e.avi", "walk/a.avi", "walk/deep/b.AVI", "walk/folder.avi/d.avi")
    assert dict(found.skipped) == {
        "walk/linked.avi": "is the same file as run/e.avi, which is read already",
        "again": "leads to walk, which is read already", "walk/deep/up": "leads to the folder itself, which is read "
        "already", "gone": "leads nowhere", "self": "leads nowhere",
    }  # fmt: skip
    assert found.barren == ("bare",)


def test_a_file_is_read_under_one_name(tmp_path):
    root = tmp_path / "in"
    touch(root, "b.avi", "d.avi", "e.avi")
    touch(tmp_path, "other.avi")
    (root / "a.avi").symlink_to("b.avi")  # what is no link is taken, whatever comes first
    (root / "c.avi").hardlink_to(root / "d.avi")
    (root / "x.avi").symlink_to(tmp_path / "other.avi")
    (root / "y.avi").symlink_to(tmp_path / "other.avi")
    (root / "z.avi").symlink_to("nothing.avi")
    found = find(root, SUFFIXES)
    assert found.paths == ("b.avi", "c.avi", "e.avi", "x.avi", "z.avi")
    assert found.skipped == tuple((path, f"is the same file as {first}, which is read already")
                                  for path, first in (("a.avi", "b.avi"), ("d.avi", "c.avi"), ("y.avi", "x.avi")))


def test_a_linked_file_is_in_one_split(tmp_path, capsys):
    write_video(tmp_path / "in/a.avi", greys([50] * 4), "mjpeg", "yuvj420p")
    for name in "bcde":
        (tmp_path / f"in/{name}.avi").symlink_to("a.avi")
    clips, builder = train_clips(tmp_path / "in", tmp_path / "out")
    assert clips["id"].tolist() == ["a.avi#0"]
    said = capsys.readouterr().err
    assert "The link b.avi in" in said and "is the same file as a.avi, which is read already; it is skipped." in said
    (tmp_path / "list.txt").write_text("b.avi\n")
    config = VideoFolderConfig(folder=tmp_path / "in", split_lists={"train": tmp_path / "list.txt"}, **ALL_TRAIN)
    with pytest.raises(ValueError, match="such as 'b.avi', which is the same file as a.avi, which is read already."):
        config.splits()


def test_linked_classes_are_classes_and_what_is_skipped_is_said(tmp_path, capsys):
    for name in "abc":
        write_video(tmp_path / "data" / name / f"{name}.avi", greys([50] * 4), "mjpeg", "yuvj420p")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).symlink_to(tmp_path / "data" / name)
    (tmp_path / "data/c/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/d").mkdir()
    clips, builder = train_clips(tmp_path / "in", tmp_path / "out")
    assert builder.info.features["label"].names == ["a", "b", "c"] and sorted(clips["label"]) == [0, 1, 2]
    said = capsys.readouterr().err
    assert "The link c/up in" in said and "leads to the folder itself, which is read already; it is skipped." in said
    assert "These subfolders hold no videos" in said and "are no classes: d." in said


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a/été 1.mp4", "a/été 1.mp4"), ("a\nb\t.mp4", "a\\nb\\t.mp4"), (os.fsdecode(b"caf\xe9.mp4"), "caf\\xe9.mp4"),
        ("'\"\\.mp4", "'\"\\.mp4"), ("a\u2028b", "a\\u2028b"), ("👩‍🚀.mp4", "👩‍🚀.mp4"),
    ],
)
def test_paths_are_text_on_one_line(path, text):
    assert printable(path) == text and len(text.encode().splitlines()) == 1


def test_classes_have_names_that_are_read_back():
    assert [printable_name(name) for name in ("a b", " a ", "\n", "a\r")] == ["a b", "\\x20a\\x20", "\\x0a", "a\\x0d"]


NAMES = [b"caf\xe9.avi", "été.avi".encode(), b"new\nline.avi", b"quote'\".avi", b"x" * 250 + b".avi", b"\xff\xfe.avi",
         b"-i.avi", b"%s{}.avi", "日本.avi".encode()]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system has names in UTF-8 alone")
def test_names_of_any_bytes_make_a_data_set(tmp_path):
    folder = os.fsencode(tmp_path / "in")
    made = write_video(tmp_path / "made.avi", greys([50] * 4), "mjpeg", "yuvj420p").read_bytes()
    classes = [b"\xe9t\xe9", b" walk\n"]
    for number, name in enumerate(NAMES):
        path = os.path.join(folder, classes[number % 2], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(made)
    os.mkdir(os.path.join(folder, b"none\xff"))
    with open(os.path.join(folder, classes[0], b"bad\xff\n.avi"), "wb") as file:
        file.write(b"nothing")
    config = VideoFolderConfig(folder=os.fsdecode(folder), max_unreadable=0.2, crop="random", **ALL_TRAIN)
    builder = prepared_videos(config, tmp_path / "out", workers=1)
    source = RecordSource(builder.data_dir, "train", ("id", "label", "video"))
    rows = source.read(range(len(source)))
    assert source.class_names == ("\\x20walk\\x0a", "\\xe9t\\xe9")  # as read back from the disk
    assert set(rows["id"]) == {printable(os.fsdecode(os.path.join(classes[number % 2], name))) + "#0"
                               for number, name in enumerate(NAMES)}
    assert (rows["video"] > 20).all() and len(np.unique(rows["label"])) == 2
    assert builder.info.metadata["left_out"]["unreadable"].keys() == {"\\xe9t\\xe9/bad\\xff\\n.avi"}
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xe9t\xe9/caf\xe9.avi\n")
    config = VideoFolderConfig(folder=os.fsdecode(folder), split_lists={"train": listed}, **ALL_TRAIN,
                               max_unreadable=0.2)
    assert config.splits()["train"][0] == 1


def test_two_names_that_look_alike_as_text_are_named(tmp_path):
    if sys.platform == "darwin":
        pytest.skip("its file system has names in UTF-8 alone")
    touch(tmp_path, "a\\xe9.avi", os.fsdecode(b"a\xe9.avi"))
    with pytest.raises(ValueError, match=r"Two videos in .* are called a\\xe9.avi when bytes"):
        VideoFolderConfig(folder=tmp_path)


def test_what_is_no_file_is_named(tmp_path):
    write_video(tmp_path / "in/a.avi", greys([50] * 4), "mjpeg", "yuvj420p")
    os.mkfifo(tmp_path / "in/pipe.avi")
    (tmp_path / "in/link.avi").symlink_to(tmp_path / "nowhere")
    _, builder = train_clips(tmp_path / "in", tmp_path / "out", max_unreadable=0.9)
    assert builder.info.metadata["left_out"]["unreadable"] == {
        "link.avi": "it is no file, and no link to one", "pipe.avi": "it is no file, and no link to one"}
