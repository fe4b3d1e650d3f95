"""What ``benchmarks/accelerator.py`` is made of: the programs of every part, and what is done with their figures.

Nothing here imports more than jax, flax, optax and numpy, but where a part is of another library: ``pytorch`` torch,
``pipeline`` grain and array-record, ``refresh`` ml_collections.
"""
