"""The classifier's step on codes and latents, with a position head, dropout and statistics of BatchNorm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.nn.classifiers import make_classifier
from videogvt.pretrained.start import CodebookEmbeddings
from videogvt.recipes.classifier import HUBER, ClassifierLosses, ClassifierRecipe
from videogvt.recipes.optimizer import Adam

ADAM = Adam(learning_rate=1e-2, total_steps=10, b1=0.9)
POOLING = {"network": "attention_pooling", "width": 4, "features": 4, "queries": 2, "hidden": 8}


class Table(nn.Module):
    """In the place of a tokenizer: looks up latents."""

    @nn.compact
    def embed(self, codes_Bthw):
        return nn.Embed(7, 4, name="table")(codes_Bthw)


def batch(count=8):
    rng = np.random.default_rng(0)
    return {"codes": rng.integers(0, 7, (count, 2, 3, 3)).astype(np.int32), "label": np.arange(count) % 2,
            "position": rng.normal(size=(count, 3)).astype(np.float32)}


def test_class_and_position_are_learned_jointly():
    model = make_classifier({**POOLING, "num_codes": 7, "dropout": 0.1}, 2, 3)
    recipe = ClassifierRecipe(model=model, losses=ClassifierLosses(position=0.5), optimizer=ADAM, field="codes")
    state = jax.jit(recipe.init)(jax.random.key(0), batch())
    step = jax.jit(recipe.step)
    after, numbers = step(state, batch(), jax.random.key(1))
    numbers = {name: mean.compute() for name, mean in numbers.items()}
    other = {name: mean.compute() for name, mean in step(state, batch(), jax.random.key(2))[1].items()}
    assert numbers["loss"] != other["loss"]  # dropout follows the key
    assert numbers["loss"] > 0.5 * numbers["position_error"] > 0 and not after.model_state
    heads = recipe.predict_fns["answer"](state, batch()["codes"])
    assert heads["logits"].shape == (8, 2) and heads["position"].shape == (8, 3)
    off = np.abs(np.asarray(heads["position"]) - batch()["position"])
    by_hand = np.where(off > HUBER, off - HUBER / 2, off**2 / (2 * HUBER)).mean()
    assert numbers["position_error"] == pytest.approx(by_hand, rel=0.2)  # but for dropout
    maps = recipe.predict_fns["attention"](state, batch()["codes"])
    np.testing.assert_allclose(np.asarray(maps).sum((3, 4)), 1.0, rtol=1e-5)


def test_latents_are_looked_up_in_a_tokenizer_that_stays():
    table = Table()
    params = table.init(jax.random.key(3), batch()["codes"], method="embed")["params"]
    recipe = ClassifierRecipe(
        model=make_classifier(POOLING, 2), losses=ClassifierLosses(), optimizer=ADAM, field="codes", tokenizer=table,
        frozen={"tokenizer": params})
    state = recipe.init(jax.random.key(0), batch()).replace(frozen={"tokenizer": params})
    after, _ = recipe.step(state, batch(), jax.random.key(1))
    assert set(after.params) == {"classifier"}
    logits_BK = recipe.predict_fns["classify"](state, batch()["codes"])
    seen = table.apply({"params": params}, batch()["codes"], method="embed")
    np.testing.assert_allclose(logits_BK, recipe.model.apply({"params": state.ema["classifier"]}, seen)["logits"],
                               rtol=1e-5)


def test_a_table_of_codes_may_begin_as_what_they_stand_for():
    vectors_KD = np.random.default_rng(1).normal(3.0, 2.0, (7, 5)).astype(np.float32)
    vectors_KD[2] = vectors_KD[5]
    model = make_classifier({**POOLING, "width": 64, "num_codes": 7}, 2)
    recipe = ClassifierRecipe(model=model, losses=ClassifierLosses(), optimizer=ADAM, field="codes",
                              start=CodebookEmbeddings(vectors_KD, share=1.0, std=1.0, table="codes"))
    before = recipe.init(jax.random.key(0), batch())
    after = recipe.warm_start(before)
    table = np.asarray(after.params["classifier"]["codes"]["embedding"])
    np.testing.assert_array_equal(table[2], table[5])
    assert np.std(table) == pytest.approx(1.0, rel=0.2) and abs(table.mean(0)).max() < 1e-5
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (table, vectors_KD)]
    assert np.corrcoef(distances[0].ravel(), distances[1].ravel())[0, 1] > 0.95
    np.testing.assert_array_equal(after.ema["classifier"]["codes"]["embedding"], table)
    others = {name: tree for name, tree in after.params["classifier"].items() if name != "codes"}
    jax.tree.map(np.testing.assert_array_equal, others, {name: before.params["classifier"][name] for name in others})


def test_statistics_of_norms_move_and_are_used():
    fields = {"filters": (2, 2, 2), "width": 4, "temporal": (4, 4), "num_heads": 2, "hidden": 4}
    model = make_classifier({"network": "frame_cnn_attention", **fields}, 2)
    recipe = ClassifierRecipe(model=model, losses=ClassifierLosses(), optimizer=ADAM)
    video = np.random.default_rng(0).integers(0, 256, (4, 2, 16, 16, 3)).astype(np.uint8)
    clips = {"video": video, "label": np.arange(4) % 2}
    state = jax.jit(recipe.init)(jax.random.key(0), clips)
    after, _ = jax.jit(recipe.step)(state, clips, jax.random.key(1))
    moved = jax.tree.map(lambda old, new: bool((np.asarray(old) != np.asarray(new)).any()),
                         state.model_state, after.model_state)
    assert all(jax.tree.leaves(moved)) and len(jax.tree.leaves(moved)) == 2 * 5
    classify = jax.jit(recipe.predict_fns["classify"])
    reset = after.replace(model_state=jax.tree.map(jnp.zeros_like, after.model_state))
    assert np.abs(np.asarray(classify(after, video) - classify(reset, video))).max() > 0
