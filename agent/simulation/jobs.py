"""Jobs on a simulated machine: what several users run, from their start to their end."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work: how hard and how evenly it uses a card, how much of its memory, for how long."""

    commands: tuple[str, ...]
    utilization: tuple[int, int]
    swing: float  # how far utilization swings around its level, 0 to 1
    period_s: float  # of that swing
    intensity: float  # share of the power limit at full utilization
    memory: tuple[float, float]  # share of the card's memory
    minutes: tuple[float, float]
    cards: tuple[int, ...] = (1,)
    decoder_percent: int = 0
    in_container: float = 0.0  # probability


KINDS = {
    "training": Kind(
        (
            "python train.py --config configs/llama-8b.yaml --output runs/",
            "python -m torch.distributed.run --nproc-per-node 4 pretrain.py --tokens data/shards",
            "python train_vit.py --epochs 90 --batch-size 1024",
        ),
        (91, 99),
        0.06,
        47.0,
        0.96,
        (0.72, 0.94),
        (6, 40),
        (1, 2, 4),
        in_container=0.5,
    ),
    "fine-tuning": Kind(
        ("python finetune.py --lora-rank 16 --model mistral-7b", "python sft.py --dataset dialogues.parquet"),
        (78, 96),
        0.12,
        31.0,
        0.85,
        (0.45, 0.80),
        (4, 20),
        (1, 2),
    ),
    "inference": Kind(
        ("vllm serve meta-llama/Llama-3.1-8B-Instruct --port 8000", "python -m sglang.launch_server --model qwen"),
        (30, 70),
        0.55,
        19.0,
        0.72,
        (0.80, 0.92),
        (20, 120),
        in_container=0.9,
    ),
    "transcoding": Kind(
        ("ffmpeg -hwaccel cuda -i rtsp://camera-7/stream -c:v hevc_nvenc archive.mkv",),
        (22, 40),
        0.2,
        11.0,
        0.35,
        (0.06, 0.12),
        (10, 60),
        decoder_percent=64,
        in_container=0.3,
    ),
    "notebook": Kind(
        ("python -m ipykernel_launcher -f kernel-4f2a.json", "python -m jupyterlab --no-browser"),
        (0, 0),
        0.0,
        60.0,
        0.5,
        (0.15, 0.65),
        (10, 90),
    ),
}

USERS = ("amira", "chen", "dkowalski", "jonas", "lena", "mbrandt", "priya", "research", "tomas", "yuki")


@dataclass(slots=True)
class Job:
    """One piece of work: a process on each of its cards."""

    kind: Kind
    user: str
    command: str
    container: str | None
    pids: dict[int, int]  # by card
    memory_share: float
    level: float
    phase: float
    started: float
    ends: float

    def utilization(self, now: float) -> float:
        """Return how busy the job keeps each of its cards now, in percent; a new job loads its data first."""
        if now - self.started < 8.0:
            return 3.0
        swing = math.sin((now + self.phase) * 2 * math.pi / self.kind.period_s)
        return max(0.0, min(100.0, self.level * (1.0 - self.kind.swing * (1.0 - swing) / 2)))

    def memory(self, now: float, total_bytes: int) -> int:
        """Return the memory that the job holds on each of its cards; it grows while the job loads."""
        loaded = min(1.0, (now - self.started + 1.0) / 12.0)
        return int(self.memory_share * loaded * total_bytes) // 2**21 * 2**21  # allocated in pages of 2 MiB


def new_job(kind_name: str, cards: list[int], started: float, rng: random.Random) -> Job:
    """Return a job of this kind on these cards, by one of the users."""
    kind = KINDS[kind_name]
    pid = rng.randrange(4_000, 3_900_000)
    return Job(
        kind=kind,
        user=rng.choice(USERS),
        command=rng.choice(kind.commands),
        container=f"{rng.getrandbits(48):012x}" if rng.random() < kind.in_container else None,
        pids={card: pid + place for place, card in enumerate(cards)},
        memory_share=rng.uniform(*kind.memory),
        level=rng.uniform(*kind.utilization),
        phase=rng.uniform(0, 600),
        started=started,
        ends=started + rng.uniform(*kind.minutes) * 60,
    )
