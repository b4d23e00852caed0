"""How the embedded weights were trained: `python -m classer_core.training --help`."""
