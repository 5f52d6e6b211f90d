"""A command while it runs: what is known of each target, changed as messages come in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gpumon.commands import MAX_OUTPUT_BYTES, CommandResult
from master.output_buffer import OutputBuffer
from master.records import PRESUMED, CommandRecord, Origin, TargetRecord
from master.store.values import fits

LOST_AFTER_S = 30.0


@dataclass(slots=True)
class RunningTarget:
    """One worker's part; `position` is its place among the targets."""

    position: int
    record: TargetRecord
    output: OutputBuffer = field(default_factory=OutputBuffer)

    @property
    def is_settled(self) -> bool:
        """Whether nothing can change it any more; what the master only presumed gives way to a late result."""
        return self.record.is_ended and self.record.state != "lost" and self.record.problem not in PRESUMED

    def end(self, result: CommandResult) -> None:
        """Take over how the command ended."""
        self.record = TargetRecord(
            worker_id=self.record.worker_id,
            state=result.state,
            exit_code=fits(result.exit_code),
            started=result.started,
            duration_s=result.duration_s,
            stdout_bytes=fits(result.stdout_bytes) or 0,
            stderr_bytes=fits(result.stderr_bytes) or 0,
            truncated=result.truncated or self.output.is_cut,
            problem=result.problem,
        )
        if not self.output.size_bytes and result.output:  # nothing was heard on the way: the result brings the tail
            self.output.add(0, "stdout", result.output, MAX_OUTPUT_BYTES)


@dataclass(slots=True)
class RunningCommand:
    """A command that has not ended, or not been written yet. Not safe to share: the desk's lock guards it."""

    id: str
    command: str
    by: str | None
    origin: Origin
    created: float
    timeout_s: float
    targets: dict[str, RunningTarget] = field(default_factory=dict)
    # Whether the broker has said who it was.
    is_audited: bool = False
    # Whether text and author are only presumed: shell text that runs already, and whose result will tell.
    is_presumed: bool = False
    ended: float | None = None
    # Targets that have changed since they were last written and announced.
    changed: dict[str, RunningTarget] = field(default_factory=dict)
    # How it had ended as the audit was told last.
    audited_outcome: dict[str, list[str]] | None = None
    # The number of the last row of it that was handed to the writer.
    last_put: int = 0

    @classmethod
    def from_record(cls, record: CommandRecord) -> RunningCommand:
        """Take a command up again as it was stored."""
        targets = {target.worker_id: RunningTarget(position, target) for position, target in enumerate(record.targets)}
        return cls(
            id=record.id,
            command=record.command,
            by=record.by,
            origin=record.origin,
            created=record.created,
            timeout_s=record.timeout_s,
            targets=targets,
            is_audited=record.origin == "mqtt" and record.by is not None,
            is_presumed=not record.command,
        )

    @property
    def deadline(self) -> float:
        """When targets without a result are lost."""
        return self.created + self.timeout_s + LOST_AFTER_S

    @property
    def is_ended(self) -> bool:
        """Whether every target has ended."""
        return all(target.record.is_ended for target in self.targets.values())

    def add_target(self, worker_id: str, problem: str | None = None) -> RunningTarget:
        """Add a worker: sent to, or failed at once because of `problem`."""
        record = TargetRecord(worker_id, "failed" if problem else "sent", problem=problem)
        target = self.targets[worker_id] = RunningTarget(len(self.targets), record)
        return target

    def lose(self) -> list[RunningTarget]:
        """Give up targets that have not ended, and return them."""
        lost = [target for target in self.targets.values() if not target.record.is_ended]
        for target in lost:
            problem = f"no result came within {self.timeout_s + LOST_AFTER_S:.0f} s"
            target.record = replace(target.record, state="lost", problem=problem)
        return lost

    def record(self) -> CommandRecord:
        """Return the command as it is now."""
        return CommandRecord(
            id=self.id,
            command=self.command,
            by=self.by,
            origin=self.origin,
            created=self.created,
            timeout_s=self.timeout_s,
            targets=tuple(target.record for target in self.targets.values()),
        )
