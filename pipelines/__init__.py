"""The Beam graph: sources, steps as thin PTransforms over `classer_core`, sinks."""

import classer_core  # noqa: F401 - before Beam imports torch
