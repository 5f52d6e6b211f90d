"""The machine around gpumon: room on its disk, and whether its clock is right."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gpumon.cli.doctor.finding import Finding, Verdict

LEAST_FREE_BYTES = 1024**3
LEAST_FREE_FILES = 1_000
LEAST_FREE_SHARE = 0.05
ASKED_FOR_S = 5.0
FAR_OFF_S = 5.0  # as far as the master lets a clock be off before it says so
SEE_TO_IT = "see that something sets the clock (chrony)"


def look_at_machine(data: Path) -> Iterator[Finding]:
    """Look at the disk of the data folder and at the clock."""
    yield _disk(data)
    yield _clock()


def _disk(data: Path) -> Finding:
    what = "disk"
    folder = data.absolute()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.0f} GiB are free at {folder}"
    mounted = os.statvfs(folder)
    if mounted.f_flag & os.ST_RDONLY:
        to_do = "mount it for writing, or give --data another folder; after an error of the disk, see dmesg"
        return Finding(what, Verdict.BAD, f"{folder} is on a disk that is mounted read-only", to_do)
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            what,
            Verdict.BAD,
            f"this user may not write to {folder}",
            f"sudo chown $USER {folder}, or give --data another folder",
        )
    if mounted.f_files and mounted.f_favail < LEAST_FREE_FILES:
        to_do = f"find where the many small files are: sudo du --inodes -x -d 3 {folder.anchor} | sort -n | tail"
        found = f"{mounted.f_favail} more files can be made at {folder} (inodes)"
        return Finding(what, Verdict.WARNING if mounted.f_favail else Verdict.BAD, found, to_do)
    if usage.free < 64 * 1024**2:
        return Finding(what, Verdict.BAD, found, "free some space: history, commands and accounts cannot be kept")
    if usage.free < min(LEAST_FREE_BYTES, LEAST_FREE_SHARE * usage.total):
        return Finding(what, Verdict.WARNING, found, "free some space before it is full")
    return Finding(what, Verdict.GOOD, found)


def _clock() -> Finding:
    what = "clock"
    if shutil.which("timedatectl") is None:
        return Finding(what, Verdict.UNKNOWN, "timedatectl is not here to ask", SEE_TO_IT)
    try:
        answer = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=ASKED_FOR_S,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what, Verdict.UNKNOWN, f"timedatectl does not answer: {error}", SEE_TO_IT)
    if answer == "yes":
        return Finding(what, Verdict.GOOD, "it is set by NTP")
    if answer == "no":
        return Finding(what, Verdict.WARNING, "it is not set by NTP", "sudo apt-get install chrony")
    return Finding(what, Verdict.UNKNOWN, "timedatectl does not say", SEE_TO_IT)


def clock_against(ahead_s: float, whose: str) -> Finding:
    """Return how this machine's clock stands to another's."""
    found = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} {whose}"
    if abs(ahead_s) < FAR_OFF_S:
        return Finding("clocks", Verdict.GOOD, f"this clock and {whose} agree")
    return Finding(
        "clocks", Verdict.WARNING, f"this clock is {found}", "have both set by NTP: timedatectl set-ntp true"
    )
