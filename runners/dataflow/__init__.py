"""Dataflow: its options, a dry run, the worker's image and the flex template."""
