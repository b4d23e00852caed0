"""The Beam graph: sources, steps as thin PTransforms over `classer_core`, sinks."""
