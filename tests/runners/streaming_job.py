"""`python -m tests.runners.streaming_job JOB.yaml`: a job on the fake model, as a process that can be killed."""

import sys
from pathlib import Path

from pipelines.job import load_job
from runners.local import run_job
from tests.fakes import load

if __name__ == "__main__":
    file = Path(sys.argv[1])
    print(run_job(load_job(file), file.parent, load=load))
