"""Settings of all tests: the same backend flags as ``run.py``, data sets and compiled programs shared between runs."""

from videogvt.core.backend import prepare_backend

prepare_backend()
