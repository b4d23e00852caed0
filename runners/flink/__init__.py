"""Flink: the job server's jar, and a cluster on this machine."""
