"""What this machine is good at: device, number format, threads."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Instructions without which bfloat16 is emulated, and slower than float32. Source: Linux's names in /proc/cpuinfo
# (x86: avx512_bf16, amx_bf16; 64-bit Arm: bf16).
BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

# Instructions that multiply int8 and add in int32 without saturating between: oneDNN uses them for `torch._int_mm`.
INTEGER_CPU_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}

KERNELS_KEPT = "64"

# `mallopt`'s names for what is mapped by itself, and for what is given back. Source: glibc's malloc.h; 32 MiB is its
# limit for the first.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
MMAP_THRESHOLD_BYTES, TRIM_THRESHOLD_BYTES = 32 << 20, 512 << 20


def best_device() -> str:
    """`cuda`, `mps` or `cpu`."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware computes in it, float16 on older GPUs, else float32."""
    import torch

    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device == "cpu" and BFLOAT16_CPU_FLAGS & cpu_flags():
        return torch.bfloat16
    return torch.float32


def has_integer_units() -> bool:
    """Whether this processor multiplies int8 matrices faster than float32 ones."""
    return bool(INTEGER_CPU_FLAGS & cpu_flags())


def cpu_flags() -> set[str]:
    """The instruction-set flags of the first processor; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    for line in lines:
        key, _, flags = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(flags.split())
    return set()


def bound_kernel_caches() -> None:
    """For streams, before a model computes: oneDNN keeps 1,024 kernels, one for each shape, half a megabyte each.

    The batches of a stream have all shapes there are: 100,000 short records took half a gigabyte more than 1,000. A
    batch job has few shapes, and would lose a sixth of its speed.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KERNELS_KEPT)


def reuse_freed_memory() -> None:
    """Before a model computes on this CPU: glibc keeps what a layer frees for the next one.

    Else each layer's arrays are mapped anew, page by page: 4 to 14% of the speed.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def return_freed_memory() -> None:
    """Gives pages that are free back to the system, where the C library is one that keeps them (glibc).

    Threads that make large arrays of many sizes leave its heaps full of holes.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def available_cores() -> int:
    """Cores this process may use: affinity and container limits respected."""
    import joblib

    return max(1, int(joblib.cpu_count()))
