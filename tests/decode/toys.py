"""A network of a few numbers, and clips of twelve tokens, for the tests of decoding."""

from functools import partial

import jax
import jax.numpy as jnp

CODES, TOKENS, MASK = 7, 12, 9
KEYS = jax.random.split(jax.random.key(5), 8)
TABLE = jax.random.normal(jax.random.key(1), (MASK + 1, CODES + 2))
MIX = jax.random.normal(jax.random.key(2), (TOKENS, TOKENS))
CONDITION = jax.random.randint(jax.random.key(3), (8, TOKENS), 0, CODES)
VISIBLE = jax.random.bernoulli(jax.random.key(4), 0.4, (8, TOKENS))
SOME = VISIBLE.at[:4].set(False)  # clips of which nothing is given, and such as VISIBLE's


def toy(tokens_BN):
    """Logits that depend on all tokens of a row and on no other; two columns are of no code, and high."""
    own = TABLE[tokens_BN]
    context = (own[:, :, None, :] * MIX[None, :, :, None]).sum(1)
    return (own + context).at[..., CODES:].set(99.0)


def run(decoding, rows=slice(None), logits_fn=toy, visible=VISIBLE, **options):
    call = partial(decoding, logits_fn, mask_id=MASK, num_codes=CODES, **options)
    return jax.jit(lambda c, v, k: call(c, v, keys_B=k))(CONDITION[rows], visible[rows], KEYS[rows])


def flat(tokens_BN, codes=4):
    return jnp.zeros((*tokens_BN.shape, codes))
