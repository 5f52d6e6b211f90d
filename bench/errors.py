"""What goes wrong in a benchmark."""

from __future__ import annotations

from gpumon.errors import GpumonError


class BenchmarkError(GpumonError):
    """A benchmark that could not be run, so that its figures would mean nothing."""
