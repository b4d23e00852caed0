"""Tests need no network: a model that is not on this machine is not looked for elsewhere."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
