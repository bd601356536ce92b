"""What a process and all that it started have used: CPU time and memory, by the kernel's count."""

import contextlib
import os
import time
from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and its descendants that are alive."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in (PROC / str(parent) / "task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree so far: what has ended in it included, finer than clock ticks."""
    return sum(_own_seconds(member) + _reaped_seconds(member) for member in tree(pid))


def _own_seconds(pid: int) -> float:
    # The CPU-time clock of another process, as clock_getcpuclockid(3) makes its id.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _reaped_seconds(pid: int) -> float:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of the tree in MB (10^6 bytes); `VmHWM` for its peak so far."""
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            for line in (PROC / str(member) / "status").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1]) * 1024
    return total / 1e6


def forget_peak(pid: int) -> None:
    """Start the peak anew, so that a level is not charged with the one before."""
    for member in tree(pid):
        with contextlib.suppress(OSError):
            (PROC / str(member) / "clear_refs").write_text("5")
