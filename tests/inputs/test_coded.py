"""Codes from files: everything is looked at, nothing written over, and what is wrong is named."""

import numpy as np
import pytest

from videogvt.inputs.coded import digits_of, import_codes
from videogvt.inputs.sources import open_source


def arrays(clips=6, **changed):
    rng = np.random.default_rng(clips)
    made = {"codes": rng.integers(0, 10, (clips, 2, 3, 4)), "num_codes": np.int64(10)}
    return {name: array for name, array in (made | changed).items() if array is not None}


def write(folder, **by_split):
    folder.mkdir(exist_ok=True)
    for split, made in by_split.items():
        np.savez(folder / f"{split}.npz", **made)
    return folder


def opened(data_dir, split="train", fields=("codes", "label", "id")):
    return open_source("codes", split, fields=fields, data_dir=data_dir, codes="mine")


def test_codes_labels_and_ids_come_back_as_they_were(tmp_path):
    classes = {"label": np.arange(6) % 2, "class_names": np.array(["up", "down"]), "strides": np.array([4, 8, 8])}
    train, test = arrays(**classes, hash=np.array("theirs")), arrays(4, hash=np.array("theirs"), **classes | {
        "label": np.ones(4, int), "id": np.array(list("abcd"))})
    folder = import_codes("mine", write(tmp_path / "files", train=train, test=test), tmp_path)
    assert folder == tmp_path / "codes" / "mine" / "1.0.0"
    source = opened(tmp_path)
    assert source.splits == ("train", "test") and source.class_names == ("up", "down") and len(source) == 6
    rows = source.read(range(6))
    np.testing.assert_array_equal(rows["codes"], train["codes"])
    np.testing.assert_array_equal(rows["label"], train["label"])
    assert rows["codes"].dtype == np.int32 and rows["id"][5] == "train/000005"
    assert source.metadata["tokenizer"] == {"hash": digits_of("theirs"), "num_codes": 10}
    assert source.metadata["grid"] == [2, 3, 4] and source.metadata["video"] == [8, 24, 32]
    assert opened(tmp_path, "test").read([3])["id"][0] == "d"


def test_flat_codes_take_their_grid(tmp_path):
    made = arrays()
    flat = made | {"codes": made["codes"].reshape(6, -1).astype(np.uint16), "grid": np.array([2, 3, 4])}
    import_codes("mine", write(tmp_path / "files", train=flat), tmp_path)
    source = opened(tmp_path)
    np.testing.assert_array_equal(source.read(range(6))["codes"], made["codes"])
    assert source.class_names == ("all",) and source.metadata["video"] == [2, 3, 4]


def test_the_first_frame_of_causal_codes_is_one_of_the_video(tmp_path):
    made = arrays(strides=np.array([4, 8, 8]), lead=np.int64(1))
    import_codes("mine", write(tmp_path / "files", train=made), tmp_path)
    assert opened(tmp_path).metadata["video"] == [5, 24, 32]


def test_a_finished_import_is_kept_and_other_codes_are_no_reason_to_write_over_it(tmp_path):
    files = write(tmp_path / "files", train=arrays())
    folder = import_codes("mine", files, tmp_path)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert import_codes("mine", files, tmp_path) == folder
    changed = arrays()
    changed["codes"][3, 1, 2, 1] += 1
    with pytest.raises(FileExistsError, match="left as it is.*codes=mine-2"):
        import_codes("mine", write(tmp_path / "others", train=changed), tmp_path)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


OUT = arrays()["codes"].copy()
OUT[4, 1, 0, 0] = 10
CLASSES = {"label": np.zeros(6, int), "class_names": np.array(["one", "two"])}


@pytest.mark.parametrize("changed, message", [
    ({"codes": OUT}, "from 0 to 10, first outside in clip 4; expected 0 to 9"),
    ({"codes": -arrays()["codes"]}, "codes run from -9"), ({"codes": arrays()["codes"] / 1.0}, "codes are float64"),
    ({"codes": np.zeros((6, 24), int)}, "with an array grid"),
    ({"codes": np.zeros((0, 2, 3, 4), int)}, "codes are int64"),
    ({"codes": np.zeros((6, 24), int), "grid": np.array([2, 3, 5])}, r"expected \(N, 30\)"),
    ({"num_codes": None}, "expected codes and num_codes"), ({"num_codes": np.int64(1)}, "num_codes is from 1 to 1"),
    ({"num_codes": np.float64(10)}, "num_codes is float64"), ({"num_codes": np.array([10])}, "num_codes is int64"),
    ({"labels": np.zeros(6, int)}, "an array 'labels'; known are"), ({"label": np.zeros(6, int)}, "no class_names"),
    ({"class_names": CLASSES["class_names"]}, "class_names and no label"),
    (CLASSES | {"label": np.full(6, 2)}, "labels reach 2; expected 0 to 1"),
    (CLASSES | {"label": np.zeros(5, int)}, r"label is int64 \(5,\)"),
    (CLASSES | {"class_names": np.array(["one", "one"])}, "no two alike"),
    (CLASSES | {"class_names": np.array(["one\nmore", "two"])}, "of one line"),
    (CLASSES | {"class_names": np.array([" ", "two"])}, "without blanks"),
    (CLASSES | {"class_names": np.array("one")}, r"class_names is <U3 \(\)"),
    (CLASSES | {"class_names": np.array([1, 2])}, "class_names is int64"),
    ({"strides": np.array([4, 8])}, "strides is int64"), ({"strides": np.array([4, 8, 0])}, "strides is from 0"),
    ({"strides": np.array([4, 8, 2000])}, "at most 1024"), ({"lead": np.int64(2)}, "lead is 2; expected 1"),
    ({"id": np.array(["a"])}, "id is <U1"),
    ({"codes": np.array([None, [1]], object)}, "Python objects"),
])
def test_wrong_files_are_refused_by_name_and_leave_nothing(changed, message, tmp_path):
    files = write(tmp_path / "files", train=arrays(**changed))
    with pytest.raises(ValueError, match=message) as refused:
        import_codes("mine", files, tmp_path)
    assert "train.npz" in str(refused.value) and not (tmp_path / "codes").exists()


@pytest.mark.parametrize("changed, what", [
    ({"num_codes": np.int64(11)}, "num_codes 11"), ({"codes": np.zeros((4, 2, 3, 5), int)}, "grid"),
    ({"strides": np.array([2, 2, 2])}, "strides"), ({"hash": np.array("other")}, "hash"),
    ({"label": np.zeros(4, int), "class_names": np.array(["one"])}, "class_names"),
])
def test_splits_of_different_codes_are_refused(changed, what, tmp_path):
    files = write(tmp_path / "files", train=arrays(), test=arrays(4, **changed))
    with pytest.raises(ValueError, match=f"test.npz has {what}.*all splits"):
        import_codes("mine", files, tmp_path)


def test_names_folders_and_damaged_files_are_told(tmp_path):
    with pytest.raises(ValueError, match="expected letters"):
        import_codes("../mine", tmp_path, tmp_path)
    for files in (None, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="expected a folder with train.npz"):
            import_codes("mine", files, tmp_path)
    with pytest.raises(FileNotFoundError, match="no train.npz; it has test"):
        import_codes("mine", write(tmp_path / "files", test=arrays()), tmp_path)
    with pytest.raises(FileNotFoundError, match="There are no codes 'mine'.*--mode=import"):
        opened(tmp_path)
    path = write(tmp_path / "files", train=arrays()) / "train.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="train.npz cannot be read"):
        import_codes("mine", tmp_path / "files", tmp_path)
