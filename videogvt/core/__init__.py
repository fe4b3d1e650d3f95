"""Small foundations that every floor may use."""
