"""Device, number format, cores and memory allocator of this machine."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# CPU flags of bfloat16 arithmetic; without them it is emulated and slower than float32. Source: names in /proc/cpuinfo
# (x86: avx512_bf16, amx_bf16; 64-bit Arm: bf16).
BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

# CPU flags of int8 products that are summed in int32 without saturation: oneDNN uses them for `torch._int_mm`.
INTEGER_CPU_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}

KERNELS_KEPT = "64"

# Parameters of `mallopt`: the size from which an array is mapped by itself, and the free memory from which the heap is
# trimmed. Source: glibc's malloc.h; the first is at most 32 MiB.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
MMAP_THRESHOLD_BYTES, TRIM_THRESHOLD_BYTES = 32 << 20, 512 << 20


def best_device() -> str:
    """Return `cuda`, `mps` or `cpu`, the first of them that this machine has."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_dtype(device: str) -> torch.dtype:
    """Return bfloat16 if the hardware supports it, float16 for older GPUs, else float32."""
    import torch

    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device == "cpu" and BFLOAT16_CPU_FLAGS & cpu_flags():
        return torch.bfloat16
    return torch.float32


def has_integer_units() -> bool:
    """Return whether this processor has instructions for int8 matrix products."""
    return bool(INTEGER_CPU_FLAGS & cpu_flags())


def free_memory_bytes(device: str) -> int | None:
    """Return the memory that a model may take on a device, within a container's limit; None where it is not known."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    free = [size for size in (_free_system_bytes(), _free_container_bytes()) if size is not None]
    return min(free, default=None)


def _free_system_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {line.partition(":")[0]: line.split()[1] for line in lines if ":" in line}
    return int(sizes["MemAvailable"]) * 1024 if "MemAvailable" in sizes else None


def _free_container_bytes(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the free memory of this process's control group (version 2); None without a limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        # Cached files are given up when memory is needed.
        cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, ValueError, KeyError):
        return None
    return None if limit == "max" else max(0, int(limit) - used + int(cached))


def cpu_flags() -> set[str]:
    """Return the instruction-set flags of the first processor; an empty set on systems without /proc/cpuinfo."""
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
    """Limit the kernels that oneDNN caches; called by streams before a model computes.

    oneDNN caches 1,024 kernels of half a megabyte, one per shape, and the batches of a stream have every shape: 100,000
    short records took half a gigabyte more than 1,000. A batch job has few shapes, and the limit would cost it a sixth
    of its speed.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KERNELS_KEPT)


def reuse_freed_memory() -> None:
    """Have glibc reuse the memory that a layer frees for the next layer; called before a model computes on the CPU.

    Otherwise the arrays of each layer are mapped again, page by page, which costs 4 to 14% of the speed.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def return_freed_memory() -> None:
    """Return free pages of glibc's heaps to the system; other C libraries do so by themselves.

    Threads that make large arrays of many sizes fragment these heaps.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def available_cores() -> int:
    """Return the number of cores that this process may use, within its affinity and container limits."""
    import joblib

    return max(1, int(joblib.cpu_count()))
