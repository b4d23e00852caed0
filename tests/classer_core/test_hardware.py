import os

import pytest
import torch

from classer_core import hardware


@pytest.mark.parametrize(("flags", "dtype"), [({"avx2", "avx512_bf16"}, torch.bfloat16), ({"avx2"}, torch.float32)])
def test_bfloat16_only_where_the_processor_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: flags)
    assert hardware.best_dtype("cpu") == dtype


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not on this system")
def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= hardware.available_cores() <= len(os.sched_getaffinity(0))
