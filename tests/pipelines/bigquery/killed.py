"""A job to be killed: `python -m tests.pipelines.bigquery.killed FOLDER JOB LOG`. Each call of the model is noted."""

import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from classer_core import Classifier, Engine, RecordError, Scores
from pipelines.job import parse_job
from runners.local import run_job
from tests.fakes import FakeModel

CALL_S = 0.4


class NotingModel(FakeModel):
    """Takes its time, and notes what it has read."""

    def __init__(self, log: str) -> None:
        self._log = Path(log)

    def score(self, texts: Sequence[Sequence[str]], classifiers: Sequence[Classifier]) -> list[Scores | RecordError]:
        """See `Model.score`."""
        with self._log.open("a") as log:
            log.write(f"{len(texts)}\n")
        time.sleep(CALL_S)
        return super().score(texts, classifiers)


def load(log: str) -> Engine:
    """Loads by name, as workers do."""
    return Engine(NotingModel(log))


if __name__ == "__main__":
    from tests.pipelines.bigquery import killed  # by name, not from __main__

    folder, document, log = sys.argv[1:]
    run_job(parse_job(json.loads(document), Path(folder) / "job.yaml"), Path(folder), load=partial(killed.load, log))
