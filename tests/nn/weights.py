"""Networks in tests: what takes time is compiling, so parameters are drawn by NumPy and programs barely optimized."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})


def random_params(model, shape, seed=0, *, dtype=jnp.float32, **arguments):
    """Parameters of ``model`` for inputs of a shape: kernels scaled by their fan-in, norms and biases near 1 and 0."""
    inputs = jax.ShapeDtypeStruct(shape, dtype)
    params = jax.eval_shape(lambda key, x: model.init(key, x, **arguments), jax.random.key(0), inputs)["params"]
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape)
        if path[-1] == "kernel":
            value = noise / np.sqrt(np.prod(leaf.shape[:-1]))
        elif path[-1] in ("codebook", "embedding"):
            value = 0.5 * noise
        else:
            value = (path[-1] in ("scale", "var")) + 0.1 * np.abs(noise)
        return jnp.asarray(value, leaf.dtype)

    return unflatten_dict({path: draw(path, leaf) for path, leaf in flatten_dict(params).items()})


def random_video(shape, seed=1):
    """Smooth enough to be no plain noise, in [0, 1]."""
    video = np.random.default_rng(seed).random(shape)
    return ((video + np.roll(video, 1, 2) + np.roll(video, 1, 3)) / 3).astype(np.float32)
