"""The local page of `classer review`."""
