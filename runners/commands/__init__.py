"""The subcommands of `classer`, one file each; `runners/cli.py` puts them together."""
