"""A recipe compiled for a mesh: its state in the abstract, its first state, and its step."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.core.trees import tree_hash
from videogvt.train import parallel
from videogvt.train.contracts import Mean, Plan, Recipe
from videogvt.train.state import TrainState


class Program:
    """What a run computes.

    Args:
      recipe: the kind of training.
      plan: gives the mesh and the seed.
      batch: this host's part of any batch, of which only shapes and dtypes count.

    Attributes:
      mesh: the devices.
      abstract: shapes, dtypes and shardings of the state; ``frozen`` included.
      frozen_hashes: of the frozen parameters, by network name.
    """

    def __init__(self, recipe: Recipe, plan: Plan, batch: Mapping[str, Any]):
        self.recipe = recipe
        self.mesh = plan.mesh.build()
        self._init_key, self._step_key = jax.random.split(jax.random.key(plan.seed))
        self._batch = parallel.global_shapes(batch)
        self.abstract = parallel.abstract_state(
            self._init, self._init_key, self._batch, recipe.sharding_rules, self.mesh, plan.mesh.fsdp
        )
        self.frozen_hashes = {name: tree_hash(tree) for name, tree in recipe.frozen.items()}
        whole = NamedSharding(self.mesh, PartitionSpec())
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract.replace(frozen={}))
        self._step = jax.jit(self._one_step, donate_argnums=0, out_shardings=(shardings, whole))

    def fresh(self) -> TrainState:
        """The state that training from scratch begins with, other runs' weights filled in."""
        state = parallel.make_state(
            lambda key, batch: self.recipe.init(key, batch).replace(frozen={}), self._init_key, self._batch,
            self.abstract.replace(frozen={}),
        )
        warm = self.recipe.warm_start(state)
        if warm is not state:
            state = parallel.place(warm.replace(frozen={}), self.abstract.replace(frozen={}))
        return self.with_frozen(state)

    def with_frozen(self, state: TrainState) -> TrainState:
        """The state with the frozen parameters on the devices."""
        return state.replace(frozen=parallel.place(dict(self.recipe.frozen), self.abstract.frozen))

    def step(self, state: TrainState, batch: Mapping[str, Any]) -> tuple[TrainState, dict[str, Mean]]:
        """Starts one update and returns at once. The state given is used up, except for ``frozen``."""
        return self.step_with(self._step, state, batch)

    def step_with(self, compiled: Any, state: TrainState, batch: Mapping[str, Any]) -> tuple[TrainState, dict]:
        """``step`` by means of ``lower(state, batch).compile()``."""
        new, numbers = compiled(*self._arguments(state, batch))
        return new.replace(frozen=state.frozen), numbers

    def lower(self, state: TrainState, batch: Mapping[str, Any]) -> jax.stages.Lowered:
        """The step for such a state and batch, not yet compiled."""
        return self._step.lower(*self._arguments(state, batch))

    def _arguments(self, state: TrainState, batch: Mapping[str, Any]):
        return state.replace(frozen={}), state.frozen, parallel.place_batch(batch, self.mesh), self._step_key

    def _init(self, key: jax.Array, batch: Mapping[str, jax.Array]) -> TrainState:
        return self.recipe.init(key, batch).replace(frozen=dict(self.recipe.frozen))

    def _one_step(self, state: TrainState, frozen, batch, key):
        key = jax.random.fold_in(key, state.step)
        new, numbers = self.recipe.step(state.replace(frozen=frozen), batch, key)
        new = new.replace(step=state.step + 1, frozen={})
        _check_step(state, new, numbers)
        return new, numbers


def _check_step(old: TrainState, new: TrainState, numbers: Mapping[str, Mean]) -> None:
    """A step must give back a state of the same shapes, and Means; found out while it is traced."""
    before, after = (
        {parallel.path_name(path): (leaf.shape, str(leaf.dtype)) for path, leaf in
         jax.tree_util.tree_leaves_with_path(state)} for state in (old, new)
    )
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        name = changed[0]
        raise TypeError(
            f"The recipe's step changed the shape or dtype of {len(changed)} leaves of the state; {name!r} was "
            f"{before.get(name, 'absent')} and is {after.get(name, 'absent')}."
        )
    wrong = [name for name, value in numbers.items() if not isinstance(value, Mean)]
    if wrong or not numbers:
        raise TypeError(f"The recipe's step gave {wrong or 'no numbers'}; expected a dict of Mean, at least the loss.")
