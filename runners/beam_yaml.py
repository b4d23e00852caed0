"""Provider for Beam YAML: a pipeline file names this module's transforms beside Beam's own.

    providers:
      - type: python
        config: {}
        transforms:
          ReadRecords: runners.beam_yaml.ReadRecords
          ExpandDocuments: runners.beam_yaml.ExpandDocuments
          ClassifyRecords: runners.beam_yaml.ClassifyRecords

Each takes Beam's `error_handling: {output: NAME}`; without it a record that fails, fails the pipeline.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam

from pipelines import transforms
from pipelines.records import ReadRows
from pipelines.transforms import FailedRecord
