"""How fast everything is that a config describes, on this machine and on untrained weights."""
