"""The version that a server says it has."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("classer-pipelines")
except PackageNotFoundError:  # run from a checkout that was not installed
    VERSION = "0"
