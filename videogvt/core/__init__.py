"""Small foundations that every layer may use."""
