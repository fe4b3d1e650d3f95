import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from tests.train.toys import ToyRecipe, leaves, toy_run
from videogvt.train.checkpoint import finished_steps
from videogvt.train.loop import fit
from videogvt.train.parallel import (
    RULES,
    MeshShape,
    find_spec,
    numeric,
    place,
    place_batch,
    split_along_data,
    state_shardings,
)
from videogvt.train.state import TrainState

pytestmark = pytest.mark.optimized

WIDE = AbstractMesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
ROOT = Path(__file__).parents[2]


def test_the_first_rule_that_matches_decides():
    rules = (("out/kernel", PartitionSpec("model")), ("kernel", PartitionSpec(None, "model")), (".*", PartitionSpec()))
    assert find_spec(rules, "net/out/kernel", (4, 4), WIDE) == PartitionSpec("model")
    assert find_spec(rules, "net/in/kernel", (4, 4), WIDE) == PartitionSpec(None, "model")
    assert find_spec(rules, "net/in/bias", (4,), WIDE) == PartitionSpec()


@pytest.mark.parametrize("rules, message", [
    ((("bias", PartitionSpec()),), "No sharding rule matches the parameter 'net/kernel'"),
    (((".*", PartitionSpec("model", "model")),), "'model' twice"),
    (((".*", PartitionSpec(("data", "model"), "data")),), "'data' twice"),
    (((".*", PartitionSpec("rows")),), "the mesh has data, model"),
    (((".*", PartitionSpec(None, None, "model")),), "names 3 dimensions; give at most 2"),
    (((".*", PartitionSpec("data")),), "splits 6 in 4 parts"),
])
def test_a_rule_that_cannot_hold_is_an_error(rules, message):
    with pytest.raises(ValueError, match=message):
        find_spec(rules, "net/kernel", (6, 8), WIDE)


def test_moments_and_averages_inherit_the_spec_of_their_parameter():
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.partition(
        {"train": optax.adam(1e-3), "fixed": optax.set_to_zero()}, lambda params: {"in": "train", "out": "fixed"}
    ))
    params = {"net": {"in": {"kernel": jnp.ones((4, 8))}, "out": {"kernel": jnp.ones((8, 2))}}}
    state = TrainState.create(params=params, opt={"net": tx.init(params["net"])}, ema=params, model_state={
        "net": {"in": {"kernel": jnp.ones((4, 8))}}})
    rules = (("in/kernel", PartitionSpec("data", "model")), (".*", PartitionSpec("model")))
    found = {path: sharding.spec for path, sharding in
             ((jax.tree_util.keystr(path), leaf) for path, leaf in
              jax.tree_util.tree_leaves_with_path(state_shardings(state, rules, WIDE)))}
    moments = [path for path in found if "mu" in path or "nu" in path]
    assert len(moments) == 2 and all(found[path] == PartitionSpec("data", "model") for path in moments)
    assert found[".ema['net']['out']['kernel']"] == PartitionSpec("model")
    assert found[".model_state['net']['in']['kernel']"] == PartitionSpec()
    assert all(spec == PartitionSpec() for path, spec in found.items() if "count" in path)


@pytest.mark.parametrize("spec, shape, expected", [
    (PartitionSpec(None, "model"), (64, 512), PartitionSpec("data", "model")),
    (PartitionSpec(), (3, 3, 3, 64, 128), PartitionSpec(None, None, None, None, "data")),
    (PartitionSpec(), (1024, 6), PartitionSpec("data", None)),
    (PartitionSpec(), (3, 1023), PartitionSpec()),  # nothing that 4 divides
    (PartitionSpec(), (16, 16), PartitionSpec()),  # small
])
def test_fsdp_splits_the_largest_dimension_that_is_whole(spec, shape, expected):
    assert split_along_data(spec, shape, WIDE) == expected


def test_a_model_axis_that_splits_nothing_is_an_error():
    state = TrainState.create(params={"net": {"kernel": jnp.ones((4, 8))}}, opt={})
    with pytest.raises(ValueError, match="2 devices along model and no parameter of net is split there"):
        state_shardings(state, RULES, WIDE)


@pytest.mark.parametrize("shape, message", [
    (MeshShape(data=3, model=1), "takes 3 x 1 devices"),
    (MeshShape(data=-1, model=-1), "-1 for at most one"),
    (MeshShape(data=0), "positive sizes"),
])
def test_a_mesh_that_does_not_fit_the_devices_is_an_error(shape, message):
    with pytest.raises(ValueError, match=message):
        shape.build(jax.devices()[:1] * 4)


def test_ids_stay_on_the_host():
    batch = {"video": np.zeros((2, 3), np.uint8), "id": np.array(["a", "b"]), "note": np.array(["a", None], object)}
    assert list(numeric(batch)) == ["video"]
    assert list(place_batch(batch, MeshShape().build(jax.devices()[:1]))) == ["video"]


def test_placing_copies_and_checks_shapes():
    mesh = MeshShape().build(jax.devices()[:1])
    sharding = jax.sharding.NamedSharding(mesh, PartitionSpec())
    target = {"a": jax.ShapeDtypeStruct((3,), jnp.float32, sharding=sharding)}
    array = place({"a": np.arange(3)}, target)["a"]
    assert array.dtype == jnp.float32 and place({"a": array}, target)["a"] is not array
    with pytest.raises(ValueError, match=r"a has shape \(2,\); expected \(3,\)"):
        place({"a": np.ones(2)}, target)


ON_EIGHT = """
import json, sys
import jax, numpy as np
from tests.train.toys import ToyData, leaves, toy_run
from videogvt.train.loop import fit
from videogvt.train.parallel import MeshShape
from videogvt.train.lock import Stopped
workdir, stop_at = sys.argv[1], int(sys.argv[2])
assert jax.device_count() == 8
try:
    data = ToyData(stop_at=stop_at)
    state = fit(*toy_run(8, data=data, save_every=100, mesh=MeshShape(data=4, model=2)), workdir)
except Stopped as stopped:
    sys.exit(stopped.code)
kernel = state.params["student"]["dense"]["kernel"]
moment = state.opt["student"][0].mu["dense"]["kernel"]
print(json.dumps({"specs": [str(kernel.sharding.spec), str(moment.sharding.spec)],
                  "leaves": {path: np.asarray(leaf, np.float64).tolist() for path, leaf in leaves(state).items()}}))
try:
    fit(*toy_run(8, data=ToyData(batch_size=6), mesh=MeshShape(data=4, model=2)), workdir + "-odd")
except ValueError as error:
    print(error)
"""


def on_eight(workdir, stop_at=-1):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    return subprocess.run([sys.executable, "-c", ON_EIGHT, str(workdir / "run"), str(stop_at)], env=environment,
                          cwd=ROOT, capture_output=True, text=True, timeout=300)


def assert_close(tree, other):
    assert tree.keys() == other.keys()
    for path in tree:
        np.testing.assert_allclose(tree[path], other[path], rtol=2e-4, atol=2e-6, err_msg=path)


def test_eight_devices_compute_what_one_computes_and_take_up_each_others_checkpoints(tmp_path):
    one = leaves(fit(*toy_run(8), tmp_path / "one"))
    (tmp_path / "whole").mkdir()
    done = on_eight(tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    result, refusal = done.stdout.splitlines()
    result = json.loads(result)
    assert result["specs"] == [str(PartitionSpec(None, "model"))] * 2
    assert_close(one, result["leaves"])
    assert "batch of 6 rows (x) does not divide by the 4 devices" in refusal

    (tmp_path / "part").mkdir()
    stopped = on_eight(tmp_path / "part", stop_at=5)
    assert stopped.returncode == 143, stopped.stderr
    assert finished_steps(tmp_path / "part" / "run") == [5]
    state = fit(*toy_run(8, recipe=ToyRecipe()), tmp_path / "part" / "run")
    assert int(state.step) == 8
    assert_close(one, leaves(state))
