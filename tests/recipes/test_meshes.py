"""Real recipes on meshes of 1, 2 and 8 devices: the same curve, and one mesh's checkpoint goes on on another."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.recipes.token_models import CODES, GRID, TOKENIZER, clips, masked_recipe
from videogvt.recipes.optimizer import Adam
from videogvt.recipes.tokenizer import TokenizerLosses, TokenizerRecipe
from videogvt.train.checkpoint import Checkpoints, restore
from videogvt.train.contracts import Plan
from videogvt.train.parallel import MeshShape
from videogvt.train.program import Program

pytestmark = pytest.mark.optimized

ROOT = Path(__file__).parents[2]
STEPS = 4
WIDE = MeshShape(data=4, model=2, fsdp=True)
MESHES = {
    "transformer": {"one": (1, MeshShape()), "two": (2, MeshShape()), "wide": (8, WIDE)},
    "tokenizer": {"one": (1, MeshShape()), "two": (2, MeshShape()), "eight": (8, MeshShape(fsdp=True))},
}


@dataclasses.dataclass(frozen=True)
class Some(MeshShape):
    """A mesh over the first devices."""

    count: int = 1

    def build(self, devices=None):
        return super().build(jax.devices()[:self.count])


def make_recipe(name):
    if name == "transformer":
        return masked_recipe(steps=STEPS, hidden=32, mlp=64, losses={"ema_decay": 0.9})
    return TokenizerRecipe(TOKENIZER, TokenizerLosses(ema_decay=0.9), Adam(1e-3, STEPS, b1=0.9))


def make_program(name, mesh):
    count, shape = MESHES[name][mesh]
    plan = Plan(total_steps=STEPS, mesh=Some(**vars(shape), count=count))
    return Program(make_recipe(name), plan, make_batches(name)[0])


def make_batches(name):
    """Clips, or codes, which need no tokenizer in the step."""
    batches = [clips(8, seed) for seed in range(STEPS)]
    if name == "tokenizer":
        return batches
    codes = np.random.default_rng(0).integers(0, CODES, (STEPS, 8, *GRID), dtype=np.int32)
    return [{"codes": codes[step], "label": batch["label"]} for step, batch in enumerate(batches)]


def curve(program, state, batches):
    """The last state and the loss of every step."""
    losses = []
    for batch in batches:
        state, numbers = program.step(state, batch)
        losses.append(numbers["loss"].compute())
    return state, losses


def figures(name, workdir) -> dict:
    """The losses by mesh; of the transformer also how the wide mesh holds it, and what goes on from its checkpoint."""
    batches, found = make_batches(name), {}
    for mesh in MESHES[name]:
        program = make_program(name, mesh)
        state, losses = curve(program, program.fresh(), batches[:2])
        if mesh == "wide":
            found["specs"] = specs(state)
            with Checkpoints(workdir) as checkpoints:
                checkpoints.save(2, state, {}, {"numbers": {}})
        found[mesh] = losses + curve(program, state, batches[2:])[1]
    if "wide" in found:
        program = make_program(name, "two")
        state = program.with_frozen(restore(workdir, 2, program.abstract).state)
        found["resumed"] = curve(program, state, batches[2:])[1]
    return found


def specs(state) -> dict[str, str]:
    """Of some leaves: a head's, an MLP's, a moment, an average, one that is small, and one of the tokenizer."""
    trees = state.params["transformer"], state.opt["transformer"][1].mu, state.ema["transformer"]
    layer = [tree["BertLayer_0"] for tree in trees]
    query = [tree["BertAttention_0"]["self_attention"]["query"]["kernel"] for tree in layer]
    leaves = {"query": query[0], "moment": query[1], "average": query[2],
              "mlp": layer[0]["BertMlp_0"]["layer_output"]["kernel"],
              "bias": layer[0]["BertMlp_0"]["layer_output"]["bias"],
              "codebook": state.frozen["tokenizer"]["quantizer"]["codebook"]}
    return {name: str(tuple(leaf.sharding.spec)) for name, leaf in leaves.items()}


def on_eight(name, workdir) -> dict:
    """``figures`` from a process that has eight devices."""
    code = f"import json; from tests.recipes.test_meshes import figures; print(json.dumps(figures{name, str(workdir)}))"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True,
                          timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_same_curves(found, name):
    assert len(set(found["one"])) == STEPS
    for mesh in MESHES[name]:
        np.testing.assert_allclose(found[mesh], found["one"], rtol=1e-4, err_msg=mesh)


def test_the_transformer_on_every_mesh(tmp_path):
    """One curve; heads and MLPs split along model, and with fsdp the rest along data; a checkpoint changes meshes."""
    found = on_eight("transformer", tmp_path)
    assert_same_curves(found, "transformer")
    np.testing.assert_allclose(found["resumed"], found["one"][2:], rtol=1e-4)
    assert found["specs"] == {
        "query": "('data', 'model', None)", "moment": "('data', 'model', None)", "average": "('data', 'model', None)",
        "mlp": "('model', 'data')", "bias": "()", "codebook": "()",
    }


@pytest.mark.slow
def test_the_tokenizer_on_every_mesh(tmp_path):
    assert_same_curves(on_eight("tokenizer", tmp_path), "tokenizer")
