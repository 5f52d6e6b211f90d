"""Workers that a test speaks for, with XIDs and hot cards, and what both pages say of their alerts."""

from __future__ import annotations

import time
from collections import Counter

from tests.end_to_end.page_client import PageClient
from tests.master.support import Publisher, gpu, info, sample
from tests.peers.conftest import Ground

# So many that each of two masters surely keeps some.
WATCHED = [f"w{number:02d}" for number in range(14)]


def appear(publisher: Publisher) -> None:
    """Let them be there, with samples so rare that one is enough for a test."""
    for name in WATCHED:
        publisher.publish(f"gpumon/{name}/status", "online", retain=True)
        publisher.publish(f"gpumon/{name}/info", info(interval_s=60), retain=True)
        publisher.publish(f"gpumon/{name}/metrics", sample(interval_s=60), retain=True)


def raise_xid(publisher: Publisher, number: int) -> None:
    """Let a card of each raise an XID."""
    for name in WATCHED:
        event = {"v": 1, "time": time.time(), "kind": "xid", "gpu": "GPU-0", "value": number, "text": "off the bus"}
        publisher.publish(f"gpumon/{name}/event", event)


def get_hot(publisher: Publisher, temperature_c: int) -> None:
    """Let a card of each be this hot."""
    for name in WATCHED:
        hot = sample(1, interval_s=60, gpus=[gpu(temperature_c=temperature_c)])
        publisher.publish(f"gpumon/{name}/metrics", hot, retain=True)


def firing(page: PageClient, rule: str = "xid-critical") -> dict[str, dict[str, object]]:
    """Return what the page shows to fire by a rule, by worker."""
    alerts = page.get(f"alerts?rule={rule}&limit=100")["alerts"]
    return {alert["worker_id"]: alert for alert in alerts if alert["worker_id"] in WATCHED}


def told(ground: Ground) -> Counter[str]:
    """Return how often people were told of each alert."""
    posts = [post.content for post in ground.hook.posts]
    alerts = [alert for post in posts for alert in post.get("alerts", ()) if alert["worker_id"] in WATCHED]
    return Counter(alert["id"] for alert in alerts)
