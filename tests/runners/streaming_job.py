"""`python -m tests.runners.streaming_job JOB.yaml [RUNNER BEAM-ARGUMENTS]`: a job on the fake model, to be killed."""

import sys
from pathlib import Path

from pipelines.job import load_job
from runners.local import run_job
from tests.fakes import load

if __name__ == "__main__":
    file, runner = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "local"
    print(run_job(load_job(file), file.parent, runner, sys.argv[3:], load=load))
