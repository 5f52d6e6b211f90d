"""What is posted to a webhook: JSON of version 1, and the headers that sign it. docs/notifications.md describes it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from gpumon.version import __version__
from master.telling.channels import Channel
from master.telling.message import Item, Message

VERSION = 1
MOST_ALERTS = 200


def webhook_job(channel: Channel, message: Message, page: str | None, now: float) -> dict[str, Any]:
    """Return what is to be posted, for `webhook_sending`; `now` is what the signature is over, besides the body."""
    body = msgspec.json.encode(_content(message, page)).decode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"gpumon/{__version__}",
        "Idempotency-Key": message.id,
        "Gpumon-Time": str(int(now)),
    }
    if channel.secret is not None:
        headers["Gpumon-Signature"] = f"sha256={signature(channel.secret, headers['Gpumon-Time'], body)}"
    return {"do": "webhook", "url": channel.url, "headers": headers, "body": body}


def signature(secret: str, time: str, body: str) -> str:
    """Return the HMAC-SHA256 (RFC 2104), in hexadecimal, over the time, a full stop and the body."""
    return hmac.new(secret.encode(), f"{time}.{body}".encode(), hashlib.sha256).hexdigest()


def _content(message: Message, page: str | None) -> dict[str, Any]:
    return {
        "v": VERSION,
        "id": message.id,
        "channel": message.channel,
        "time": message.time,
        "repeated": message.is_repeated,
        "test": message.is_test,
        "title": message.title,
        "text": message.body,
        "firing": message.firing,
        "resolved": len(message.items) - message.firing,
        "alerts": [_alert(item, page) for item in message.items[:MOST_ALERTS]],
        "left_out": max(0, len(message.items) - MOST_ALERTS),
    }


def _alert(item: Item, page: str | None) -> dict[str, Any]:
    alert = item.alert
    return {
        "id": alert.id,
        "told": item.told,
        "rule": alert.rule,
        "kind": alert.kind.value,
        "severity": alert.severity.value,
        "worker_id": alert.worker_id,
        "gpu": alert.gpu,
        "labels": alert.labels,
        "since": alert.since,
        "until": None if item.is_firing else alert.until,
        "value": alert.value,
        "threshold": alert.threshold,
        "unit": alert.unit,
        "count": alert.count,
        "text": alert.text,
        "url": None if page is None else f"{page}/alerts/{alert.id}",
    }
