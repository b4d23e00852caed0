"""Real servers, each a process of this machine on a free port that keeps nothing."""
