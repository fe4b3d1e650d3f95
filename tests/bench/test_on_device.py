"""What the benchmark of accelerators reckons with: sizes of the configs, memory by shape, agreement with a CPU."""

import importlib
import json
import pathlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.core.trees import parameter_count

pytestmark = pytest.mark.optimized

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
REFRESH = "run `python benchmarks/accelerator.py --refresh`"


@pytest.fixture
def on_device(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"on_device.{name}")


def test_sizes_are_those_of_the_configs(on_device):
    sizes, refresh = on_device("sizes"), on_device("refresh")
    sections = refresh.sections()
    assert json.loads(sizes.SECTIONS.read_text()) == sections, REFRESH
    losses = json.loads(sizes.LOSSES.read_text())
    assert {name: found["sections"] for name, found in losses.items()} == {
        name: sizes.digest(sections[name]) for name in refresh.TRAINED}, REFRESH
    assert {name: len(found["losses"]) for name, found in losses.items()} == refresh.TRAINED, REFRESH


def test_the_network_behind_a_run_is_found_by_its_name(on_device):
    refresh = on_device("refresh")
    sections = refresh.sections()
    assert refresh._network("runs/vqvae_traj-B") == sections["tokenizer B"]["tokenizer"] | {
        "channel_multipliers": (1, 2, 2, 4), "temporal_downsample": (True, True, False)}
    assert refresh._network("local64_8x4x4")["stem"] == [2, 16, 16]  # it ships
    with pytest.raises(ValueError, match="local64_8x4x4"):
        refresh._network("/somewhere/else")


def test_needs_are_what_is_alive_at_once(on_device):
    memory = on_device("memory")
    x = jax.ShapeDtypeStruct((8, 4), jnp.float32)  # 128 bytes

    def chain(x):  # the argument and two of these at a time
        return jnp.exp(jnp.sin(jnp.cos(x)))

    def kept(x):  # and the cosine as well, which is asked for again
        cosine = jnp.cos(x)
        return jnp.exp(jnp.sin(cosine)) + cosine

    assert memory.needs(chain, x) == (3 * 128, 32)
    assert memory.needs(kept, x) == (4 * 128, 32)
    assert memory.needs(jax.jit(chain), x) == (3 * 128, 32)  # inside another function as well
    outer = memory.needs(lambda x: jnp.einsum("ab,cd->abcd", x, x).sum(), x)
    assert outer == (128 + 4 * 32 * 32 + 4, 32 * 32)


def test_batches_are_the_largest_power_of_two_that_fits_and_a_quarter(on_device):
    memory = on_device("memory")

    def needed(rows):
        return memory.Needs(100 + 10 * rows, 1000 * rows)

    assert memory.batch_sizes(needed, 100 + 10 * 64, max_rows=256) == (64, 16)
    assert memory.batch_sizes(needed, 100 + 10 * 63, max_rows=256) == (32, 8)
    assert memory.batch_sizes(needed, 1e9, max_rows=256) == (256, 64)
    assert memory.batch_sizes(needed, 1e9, max_rows=2) == (2, 1)
    assert memory.batch_sizes(lambda rows: memory.Needs(rows, rows * 2**24), 1e9, max_rows=256) == (64, 16)
    with pytest.raises(MemoryError, match="One row needs"):
        memory.batch_sizes(needed, 109, max_rows=256)


def test_losses_agree_where_their_means_do(on_device):
    defaults = on_device("defaults")
    cpu = np.linspace(3.0, 1.0, 60).tolist()
    same = defaults.compared(cpu, cpu)
    assert same["agrees"] and same["difference"] == 0 and same["compared"] == 60
    noise = 1 + 0.03 * np.random.default_rng(0).standard_normal(60)
    assert defaults.compared((noise * cpu).tolist(), cpu)["agrees"]
    later = [*cpu[:40], *(1.1 * np.array(cpu[40:])).tolist()]
    other = defaults.compared(later, cpu)
    assert not other["agrees"] and other["difference"] == pytest.approx(0.1) and other["difference_first"] == 0
    assert not defaults.compared([float("nan"), *cpu[1:]], cpu)["agrees"]


def test_codes_of_brightness_are_whole_numbers_of_their_cells(on_device):
    defaults = on_device("defaults")
    video = np.zeros((1, 2, 4, 4, 3), np.uint8)
    video[0, 1, 2:, :2] = 255
    video[0, 0, :2, 2:] = 51
    codes = defaults.brightness(video, (2, 2, 2), 11)
    assert codes.dtype == np.int32 and codes.tolist() == [[[[0, 2], [0, 0]], [[0, 0], [10, 0]]]]
    assert not defaults.brightness(np.zeros_like(video), (1, 2, 1), 11).any()


def test_batches_follow_one_another_and_begin_again(on_device):
    rows = on_device("defaults").rows({"codes": np.arange(5)}, 2, 3)
    assert rows["codes"].tolist() == [1, 2]


def test_the_step_with_the_attention_of_cudnn_is_made_for_gpus(on_device):
    """Traced and lowered for CUDA, odd lengths included, by a jax that is told of a GPU."""
    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    transformers, networks = on_device("transformers"), on_device("networks")
    recipe = transformers.recipe_of("transformer B", True, **transformers.FUSED, attention="cudnn")
    assert recipe.generation.transformer.sequence_length % 2  # which cuDNN does not train on
    batch = {name: jax.ShapeDtypeStruct(array.shape, array.dtype)
             for name, array in networks.random_codes(recipe, 2).items()}
    with mock.patch.object(fused, "check_cudnn_version", lambda: 91900), mock.patch.object(
            fused, "check_compute_capability", lambda capability: True), mock.patch.object(
            fused, "is_cuda_compute_capability_equal", lambda capability: False):
        state = jax.eval_shape(recipe.init, jax.random.key(0), batch).replace(frozen={"tokenizer": {}})
        lowered = jax.jit(recipe.step).trace(state, batch, jax.random.key(0)).lower(lowering_platforms=("cuda",))
        needed = transformers.step_needs(recipe, lambda rows: networks.random_codes(recipe, rows), 2)
    text = lowered.as_text()
    assert "__cudnn$fmhaSoftmax" in text and "__cudnn$fmhaSoftmaxBackward" in text and needed.bytes > 0
    plain = transformers.recipe_of("transformer B", True, **transformers.FUSED)
    assert recipe.flops(state, batch) == plain.flops(state, batch)


def test_the_pytorch_network_has_the_shape_of_b(on_device):
    pytest.importorskip("torch")
    torches, sizes, networks = on_device("torches"), on_device("sizes"), on_device("networks")
    settings = sizes.load("tokenizer B", dry_run=True)
    settings["tokenizer"] |= {"encoder_blocks": 2, "decoder_blocks": 2}  # B's own, and the plain network's
    recipe = networks.tokenizer_recipe(settings, gan=False)
    state = jax.eval_shape(recipe.init, jax.random.key(0), networks.random_clips(settings["clip"], 1))
    for work in torches.WORK:
        call, parameters = torches._call(work, settings, "cpu", 1, last=work == "encode")
        call()
        assert parameters == parameter_count(state.params)
