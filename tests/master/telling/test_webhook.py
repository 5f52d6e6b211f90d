"""Webhooks: what is posted is as documented, and a receiver's check from the document works as written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gpumon.settings import ChannelSettings
from gpumon.settings_sources import load_settings
from master.store.engine import Store
from master.telling.channels import read_channels
from tests.master.telling.services import http_service
from tests.master.telling.support import Desk, alert, over, tell, telling
from tests.support import eventually

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "notifications.md").read_text()
pytestmark = pytest.mark.sqlite


def documented(language: str) -> list[str]:
    """Return the examples of a language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_what_is_posted_is_signed_as_the_documented_check_expects(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "hook.secret"
    secret.write_text("a secret of ours\n")
    secret.chmod(0o600)
    found: dict[str, Any] = {}
    exec(documented("python")[0], found)
    check = found["is_from_gpumon"]
    with http_service() as service:
        address = f"http://{service.address}/gpumon"
        channels = {"hook": ChannelSettings(webhook=address, secret_file=str(secret), gather_s=0)}
        with telling(store, Desk(), channels) as running:
            tell(running, alert())
            (post,) = eventually(lambda: service.posts, 30)
    assert check("a secret of ours", post.headers, post.body)
    assert not check("another secret", post.headers, post.body)
    assert not check("a secret of ours", post.headers, post.body + b" ")
    assert not check("a secret of ours", {**post.headers, "Gpumon-Time": "1766500000"}, post.body)
    assert not check("a secret of ours", {}, post.body)


def test_what_is_posted_has_the_documented_fields(store: Store) -> None:
    example = json.loads(documented("json")[0])
    with http_service() as service:
        channels = {"tickets": ChannelSettings(webhook=f"http://{service.address}/gpumon", gather_s=0)}
        with telling(store, Desk(), channels) as running:
            tell(running, alert())
            eventually(lambda: len(service.posts) == 1, 30)
            tell(running, over(alert()))
            eventually(lambda: len(service.posts) == 2, 30)
    first, last = (post.content for post in service.posts)
    assert first.keys() == example.keys()
    assert first["alerts"][0].keys() == example["alerts"][0].keys()
    assert first["id"] == service.posts[0].headers["Idempotency-Key"] != last["id"]
    assert (first["v"], first["firing"], first["resolved"], first["left_out"]) == (1, 1, 0, 0)
    assert first["alerts"][0]["url"] == "https://gpumon.lab:5000/alerts/a-1"
    assert first["alerts"][0]["until"] is None
    assert (last["alerts"][0]["told"], last["alerts"][0]["until"]) == ("resolved", over(alert()).until)


def test_the_documented_settings_can_be_used(tmp_path: Path) -> None:
    text = documented("toml")[0].replace("/etc/gpumon", str(tmp_path))
    urls = documented("text")[0].splitlines()
    for name, content in (("oncall.url", urls[0]), ("lab.url", urls[3]), ("tickets.secret", "secret")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "gpumon.toml").write_text(text)
    settings = load_settings({}, {}, tmp_path / "gpumon.toml")
    assert [channel.kind for channel in read_channels(settings.alerts.channels)] == ["mailtos", "ntfys", "webhook"]


def test_apprise_can_use_every_documented_address(store: Store) -> None:
    stand_ins = {
        "TOKEN_A": "T1JJ3T3L2",
        "TOKEN_B": "A1BRTD4JD",
        "TOKEN_C": "TIiajkdnlazkcOXrIdevi7FQ",
        "BOT_TOKEN": "123456789:AAF0123456789abcdefghijklmnopqrstuv",
        "CHAT_ID": "987654321",
    }
    addresses = documented("text")[0]
    for word, value in stand_ins.items():
        addresses = addresses.replace(word, value)
    channels = {f"c{place}": ChannelSettings(apprise=line) for place, line in enumerate(addresses.splitlines())}
    with telling(store, Desk(), channels) as running:
        assert [view.kind for view in running.channels()] == ["mailtos", "slack", "tgram", "ntfys", "ntfys"]
