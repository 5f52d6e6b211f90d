"""Apprise against services on this machine: JSON, one that is like ntfy, and a mail server."""

from __future__ import annotations

import email
import email.policy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.errors import SettingError
from gpumon.settings import ChannelSettings
from master.audit import Actor
from master.store.engine import Store
from tests.master.telling.services import http_service, smtp_service
from tests.master.telling.support import Desk, alert, over, tell, telling
from tests.support import eventually

ANNA = Actor("anna", "page")
pytestmark = pytest.mark.sqlite


def test_an_alert_comes_by_mail_with_all_that_is_needed_at_night(store: Store, tmp_path: Path) -> None:
    with smtp_service() as service:
        file = tmp_path / "oncall.url"
        file.write_text(
            f"mailto://example.org:{service.port}?smtp=127.0.0.1&mode=insecure"
            "&from=gpumon@example.org&to=oncall@example.org"
        )
        file.chmod(0o600)
        with telling(store, Desk(), {"mail": ChannelSettings(apprise_file=str(file), gather_s=0)}) as running:
            tell(running, alert())
            eventually(lambda: service.mails, 30)
            tell(running, over(alert()))
            eventually(lambda: len(service.mails) == 2, 30)
        first, last = (email.message_from_string(mail, policy=email.policy.default) for mail in service.mails)
        assert first["subject"] == "[warning] gpu1: GPU 3 (NVIDIA H200) is at 91 °C (at or above 85 °C)"
        assert "oncall@example.org" in first["to"]
        text = first.as_bytes().decode() if first.is_multipart() else str(first.get_content())
        body = first.get_body(("plain", "html"))
        text = str(body.get_content()) if body is not None else text
        for part in ("Worker: gpu1 (rack=3)", "GPU-5d1e6a2c", "https://gpumon.lab:5000/alerts/a-1", "What to do"):
            assert part in text
        assert str(last["subject"]).startswith("[over] gpu1")


def test_a_service_like_ntfy_and_apprises_own_json_are_told(store: Store) -> None:
    with http_service() as ntfy, http_service() as plain:
        channels = {
            "push": ChannelSettings(apprise=f"ntfy://{ntfy.address}/gpus", gather_s=0),
            "json": ChannelSettings(apprise=f"json://{plain.address}/", gather_s=0),
        }
        with telling(store, Desk(), channels) as running:
            assert [view.kind for view in running.channels()] == ["ntfy", "json"]
            tell(running, alert())
            eventually(lambda: ntfy.posts and plain.posts, 30)
        told = json.loads(ntfy.posts[0].body)
        assert told["topic"] == "gpus"
        assert told["title"] == "[warning] gpu1: GPU 3 (NVIDIA H200) is at 91 °C (at or above 85 °C)"
        assert "github" not in ntfy.posts[0].body.decode()  # no picture from the internet
        assert plain.posts[0].content["type"] == "warning"


def test_what_apprise_cannot_send_says_why_and_shows_no_secret(store: Store) -> None:
    with http_service(401) as service:
        channels = {
            "refused": ChannelSettings(apprise="ntfy://user:s3cretpw@127.0.0.1:1/s3crettopic"),
            "denied": ChannelSettings(apprise=f"ntfy://user:s3cretpw@{service.address}/s3crettopic"),
        }
        with telling(store, Desk(), channels) as running:
            refused, denied = str(running.test("refused", ANNA)), str(running.test("denied", ANNA))
    assert "Connection refused" in refused
    assert "401" in denied
    assert "s3cret" not in refused + denied + repr(channels)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nfty://host/s3cret", r"\[alerts.channels.ops\]: Apprise knows no nfty://: did you mean ntfy://\?"),
        ("tgram://s3cret", r"\[alerts.channels.ops\]: this tgram:// URL is not one that Apprise can use"),
    ],
)
def test_a_url_that_apprise_cannot_use_keeps_the_master_from_starting(store: Store, url: str, told: str) -> None:
    with (
        pytest.raises(SettingError, match=told) as raised,
        telling(store, Desk(), {"ops": ChannelSettings(apprise=url)}),
    ):
        pass
    assert "s3cret" not in str(raised.value)


def test_apprise_is_not_loaded_into_the_master() -> None:
    program = "import sys, master.master; raise SystemExit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
