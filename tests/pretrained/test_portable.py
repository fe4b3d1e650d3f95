"""Files that run without this package answer as it does."""

import hashlib
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.pretrained.conftest import NETWORK, write_run
from videogvt.pretrained import VideoGenerator, portable
from videogvt.pretrained.rounding import unrounded

pytestmark = pytest.mark.optimized

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "export.md"
CLIP = (8, 32, 32)


@pytest.fixture(scope="module")
def run(workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "by_class"
    return write_run(folder, workdir, "transformer", ("CG",), NETWORK, {"steps": 3})


@pytest.fixture(scope="module")
def generator(run):
    return VideoGenerator.load(run)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return portable.write_portable(run, tmp_path_factory.mktemp("made") / "portable")


@pytest.fixture(scope="module")
def given(generator):
    rng = np.random.default_rng(0)
    video = rng.random((1, *CLIP, 3)).astype(np.float32)
    codes = generator.tokenizer.codes(video)
    mask = generator.generation.vocabulary.mask
    tokens = np.where(rng.random((1, codes.size)) < 0.5, mask, codes.reshape(1, -1)).astype(np.int32)
    return {"encode": (video,), "decode": (codes,), "step": (tokens, np.array([3], np.int32))}


def expected(generator, given):
    generation, (tokens, label) = generator.generation, given["step"]
    nothing = jnp.zeros_like(tokens)
    prefix = generation.tasks.prefix(jnp.zeros(1, jnp.int32), label)
    tokenizer = generator.tokenizer
    return {"encode": tokenizer.codes(*given["encode"]), "decode": tokenizer.video(*given["decode"]),
            "step": generation.logits(generator.params, jnp.asarray(tokens), prefix, nothing)}


def same(found, wanted):
    if np.asarray(wanted).dtype == np.int32:
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_every_file_answers_as_the_package_does(folder, generator, given):
    about = json.loads((folder / "about.json").read_text())
    assert about["parts"]["step"]["mask"] == generator.generation.vocabulary.mask
    for name, wanted in expected(generator, given).items():
        data = (folder / f"{name}.stablehlo").read_bytes()
        exported = jax.export.deserialize(bytearray(data))
        assert exported.platforms == ("cpu", "cuda")
        same(exported.call(*given[name]), wanted)
        part = about["parts"][name]
        assert [list(one.shape) for one in given[name]] == [one["shape"] for one in part["inputs"].values()]
        assert [list(np.shape(wanted))] == [one["shape"] for one in part["output"].values()]
        assert part["files"][f"{name}.stablehlo"] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_the_documents_loop_generates_from_the_files_alone(folder, generator, monkeypatch):
    text = re.search(r"```python\n(import json.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)
    assert "videogvt" not in text
    monkeypatch.chdir(folder.parent)
    names = {}
    exec(compile(text, "docs/export.md", "exec"), names)
    video, tokens = names["generate"](2, steps=3)
    assert video.shape == (1, *CLIP, 3) and 0 <= video.min() < video.max() <= 1
    assert tokens.max() < generator.tokenizer.num_codes  # nothing is left hidden
    np.testing.assert_allclose(video, generator.tokenizer.video(tokens.reshape(1, 2, 4, 4)), atol=1e-4)


def test_fewer_bits_make_smaller_files_that_answer_as_the_rounded_network(workdir, given):
    sizes = {}
    for weights in ("float32", "float16", "int8"):
        part = portable.parts_of(workdir, weights, CLIP)[1]
        data = portable.as_stablehlo(part)
        sizes[weights] = len(data)
    assert sizes["int8"] < sizes["float16"] < sizes["float32"]
    wanted = part.function["default"](jax.tree.map(jnp.asarray, unrounded(part.params)), *given["decode"])
    same(jax.export.deserialize(bytearray(data)).call(*given["decode"]), wanted)


def test_a_causal_step_says_each_code_from_those_before_it(lm_run):
    part = portable.parts_of(lm_run)[2]
    step, label = jax.jit(part.plain), np.array([1], np.int32)
    tokens = np.arange(32, dtype=np.int32)[None]
    changed = tokens.copy()
    changed[:, 20:] = 7
    one, two = step(tokens, label), step(changed, label)
    assert one.shape == (1, 32, 64)
    np.testing.assert_allclose(one[:, :21], two[:, :21], atol=1e-6)
    assert np.abs(one[:, 21] - two[:, 21]).max() > 1e-3


def test_onnx_answers_as_the_package_does(run, generator, given, tmp_path):
    pytest.importorskip("jax2onnx")
    runtime = pytest.importorskip("onnxruntime")
    folder = portable.write_portable(run, tmp_path / "made", onnx=True)
    about = json.loads((folder / "about.json").read_text())
    for name, wanted in expected(generator, given).items():
        session = runtime.InferenceSession(folder / f"{name}.onnx")
        part = about["parts"][name]
        assert [one.name for one in session.get_outputs()] == list(part["output"])
        (found,) = session.run(None, dict(zip(part["inputs"], given[name], strict=True)))
        same(found, wanted)


@pytest.mark.parametrize("options, message", [
    ({"weights": "int4"}, "kind of weights"), ({"batch": 0}, "batch is 0"), ({"clip": (8, 16, 16)}, "Leave it out"),
    ({"onnx": True}, "pip install --no-deps jax2onnx"),
])
def test_what_cannot_be_written_is_told_and_leaves_nothing(options, message, run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jax2onnx", None)
    with pytest.raises(ValueError, match=message):
        portable.write_portable(run, tmp_path / "made", **options)
    assert not list(tmp_path.iterdir())


def test_folders_in_the_way_and_generators_that_see_pixels_are_refused(folder, generator_run, tmp_path, capsys):
    with pytest.raises(FileExistsError, match="choose another name"):
        portable.write_portable(generator_run, folder)
    assert portable.main([str(generator_run), str(tmp_path / "made")]) == 2
    assert "Found CG, FP:4, IPC" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("clip", ["16,64", "16,64,a", "16,64,-64"])
def test_sizes_of_clips_are_three(clip, capsys):
    with pytest.raises(SystemExit) as left:
        portable.main(["local64_8x4x4", "made", f"--clip={clip}"])
    assert left.value.code == 2 and f"found '{clip}'; expected frames, height and width" in capsys.readouterr().err
