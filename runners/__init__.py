"""Where a job runs: the command line and the runners."""
