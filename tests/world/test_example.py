"""Examples are pure, balanced, documented, and change only with the version."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from videogvt.world.example import FIELDS, example, field_shapes
from videogvt.world.render import COLOUR_NAMES
from videogvt.world.spec import SPECS, VERSION

GOLDEN = Path(__file__).parents[1] / "golden" / "world_hashes.json"


def digest(clip: dict) -> str:
    """A hash of all fields."""
    total = hashlib.sha256()
    for name in sorted(clip):
        value = clip[name]
        total.update(name.encode())
        total.update(value.encode() if isinstance(value, str) else np.ascontiguousarray(value).tobytes())
    return total.hexdigest()


def golden_hashes() -> dict[str, str]:
    """Hashes of the first five examples (one per class) of each spec's train split and the first of its ood split."""
    places = [("train", index) for index in range(5)] + [("ood", 0)]
    return {
        f"{name}/{split}/{index}": digest(example(spec, split, index))
        for name, spec in SPECS.items()
        for split, index in places
    }


def test_nothing_changed_without_a_new_version():
    """To accept a change: bump VERSION in world/spec.py, then run this file as a module to write the hashes anew."""
    golden = json.loads(GOLDEN.read_text())
    assert golden["version"] == VERSION, f"VERSION is {VERSION}: write the hashes anew (python -m {__name__})."
    changed = [name for name, value in golden_hashes().items() if golden["hashes"].get(name) != value]
    assert not changed, f"The bytes of {changed} changed: bump VERSION in world/spec.py and write the hashes anew."


def test_order_and_global_seed_do_not_matter():
    spec = SPECS["hard64"]
    forwards = [digest(example(spec, "train", index)) for index in range(6)]
    np.random.seed(7)  # noqa: NPY002
    backwards = [digest(example(spec, "train", index)) for index in reversed(range(6))]
    assert forwards == backwards[::-1]


def test_another_process_makes_the_same_bytes():
    code = (
        "from tests.world.test_example import digest; from videogvt.world.example import example;"
        "from videogvt.world.spec import SPECS; import sys;"
        "print(digest(example(SPECS['hard64'], 'test', 11)));"
        "assert not {'jax', 'tensorflow', 'flax'} & set(sys.modules)"
    )
    here = Path(__file__).parents[2]
    printed = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == digest(example(SPECS["hard64"], "test", 11))


@pytest.mark.parametrize("name", SPECS)
def test_fields_have_their_shapes_types_and_ranges(name):
    spec = SPECS[name]
    shapes = field_shapes(spec)
    for index in range(len(spec.families)):
        clip = example(spec, "validation", index)
        assert clip.keys() == shapes.keys()
        for field, (shape, dtype) in shapes.items():
            if dtype == "str":
                assert isinstance(clip[field], str) and clip[field]
                continue
            assert clip[field].shape == shape and clip[field].dtype == dtype, field
            assert np.isfinite(clip[field]).all(), field
            low, high = FIELDS[field].range
            assert (low is None or clip[field].min() >= low) and (high is None or clip[field].max() <= high), field


@pytest.mark.parametrize("name", SPECS)
def test_labels_are_balanced_and_named(name):
    spec = SPECS[name]
    for split, size in spec.splits:
        counts = np.bincount(np.arange(size) % len(spec.families))
        assert np.ptp(counts) == 0, f"{split} of {size} cannot be shared by {len(spec.families)} classes"
    for index in range(2 * len(spec.families)):
        clip = example(spec, "test", index)
        assert spec.families[clip["label"]] == clip["family"] and clip["label"] == index % len(spec.families)


def test_splits_share_no_id_and_no_scene():
    spec = SPECS["mono64"]
    clips = [example(spec, split, index) for split, _ in spec.splits for index in range(10)]
    assert len({clip["id"] for clip in clips}) == len(clips)
    assert len({clip["position"].tobytes() for clip in clips}) == len(clips)
    assert clips[3]["id"] == "mono64/train/000003"


def test_parameters_and_captions_tell_the_truth():
    for index in range(10):
        clip = example(SPECS["mono64"], "train", index)
        parameters = json.loads(clip["parameters"])
        depth = clip["position"] @ clip["camera_R"][0, 0, 2] + clip["camera_t"][0, 0, 2]
        radius_px = parameters["ball_radius"] * clip["camera_K"][0, 0, 0, 0] / depth
        np.testing.assert_allclose(clip["radius_px"][0], radius_px, rtol=1e-4)
        if clip["family"] == "linear":
            np.testing.assert_allclose(parameters["speed_vector"], clip["velocity"][0], atol=1e-5)


def test_captions_have_several_wordings_and_good_articles():
    captions = [example(SPECS["mono64"], "train", index)["caption"] for index in range(100)]
    colours = {name for name in COLOUR_NAMES if any(f" {name} " in caption for caption in captions)}
    wordings = set()
    for caption in captions:
        assert caption[0].isupper() and caption.endswith(".") and "{" not in caption
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", caption), caption
        wordings.add(re.sub("|".join(COLOUR_NAMES) + r"|\bAn? |[0-9.]+", "", caption))
    assert len(wordings) >= 15 and len(colours) >= 10


def test_measurement_noise_is_a_share_of_the_extent():
    clips = [example(SPECS["hard64"], "train", index) for index in range(40)]
    shares = [np.std(c["measured_position"] - c["position"]) / np.ptp(c["position"], axis=0).max() for c in clips]
    assert 0.008 < np.mean(shares) < 0.012
    clean = example(SPECS["mono64"], "train", 0)
    np.testing.assert_array_equal(clean["measured_position"], clean["position"])


def test_indices_and_splits_outside_are_refused():
    with pytest.raises(IndexError, match="holds 40 examples"):
        example(SPECS["tiny"], "train", 40)
    with pytest.raises(KeyError, match="Did you mean 'train'"):
        example(SPECS["tiny"], "trian", 0)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({"version": VERSION, "hashes": golden_hashes()}, indent=1) + "\n")
