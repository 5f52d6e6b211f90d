"""What other machines get of a `gpumon up --host`: everything over TLS, by gpumon's own authority or a given one."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from broker.certificates import ensure_server_certificate
from tests.browser import chromium
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import Running, an_agent, gpumon_up
from tests.support import eventually, free_port, program_or_skip

HOST = "127.0.0.2"  # of the loopback network too, but not where gpumon is without --host


@pytest.fixture(scope="module")
def tls_port() -> int:
    """The broker's port for other machines."""
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, tls_port: int) -> Iterator[Running]:
    """A master for other machines, with an agent on one of them."""
    folder = tmp_path_factory.mktemp("other-machines")
    with ExitStack() as stack:
        running = stack.enter_context(gpumon_up(folder, "--host", HOST, "--mqtts-port", str(tls_port)))
        flags = ("--master", f"mqtts://{HOST}:{tls_port}", "--cafile", str(running.data.authority))
        stack.enter_context(an_agent(running, "far", "--source", "simulated", "--interval", "0.5", *flags))
        yield running


@pytest.fixture(scope="module")
def admin(fleet: Running) -> PageClient:
    """The admin, logged in over HTTPS."""
    return PageClient(fleet.page, "admin", fleet.admin_password, fleet.verify)


def shown_fingerprint(host: str, port: int) -> str:
    """Return the SHA-256 of the certificate that is shown there, as browsers write it."""
    pem = ssl.get_server_certificate((host, port))
    openssl = program_or_skip("openssl", "openssl")
    command = [openssl, "x509", "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(command, input=pem, capture_output=True, text=True, check=True).stdout
    return told.partition("=")[2].strip()


def page_port(fleet: Running) -> int:
    return int(fleet.page.rpartition(":")[2])


def test_the_page_is_trusted_with_the_authority_and_not_without(fleet: Running) -> None:
    assert requests.get(f"{fleet.page}/login", verify=fleet.verify, timeout=10).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{fleet.page}/login", timeout=10)


def test_a_session_is_sent_over_tls_alone(fleet: Running) -> None:
    answer = requests.get(f"{fleet.page}/login", verify=fleet.verify, timeout=10)
    assert "Secure" in answer.headers["Set-Cookie"]
    # For a whole host, other ports included, and for months: nothing to ask for with a certificate of one's own.
    assert "Strict-Transport-Security" not in answer.headers


def test_a_browser_that_is_sent_to_http_ends_up_at_https(fleet: Running) -> None:
    answer = requests.get(fleet.page.replace("https", "http") + "/login?next=/", verify=fleet.verify, timeout=10)
    assert answer.url == f"{fleet.page}/login?next=/"
    assert answer.history[0].status_code == 301


def test_anybody_may_have_the_authoritys_certificate(fleet: Running) -> None:
    answer = requests.get(f"{fleet.page}/ca.crt", verify=fleet.verify, timeout=10)
    assert answer.content == fleet.data.authority.read_bytes()
    assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"


def test_the_first_start_says_where_the_page_is_and_how_to_trust_it(fleet: Running) -> None:
    said = fleet.said()
    assert f"gpumon's page is at {fleet.page}\n" in said
    assert f"SHA-256 fingerprint is {shown_fingerprint(HOST, page_port(fleet))}\n" in said
    assert str(fleet.data.authority) in said
    assert fleet.admin_password not in said


def test_page_and_broker_show_the_same_certificate(fleet: Running, tls_port: int) -> None:
    assert shown_fingerprint(HOST, page_port(fleet)) == shown_fingerprint(HOST, tls_port)


def test_a_worker_far_away_is_seen_and_commanded_over_tls(fleet: Running, admin: PageClient) -> None:
    eventually(lambda: admin.state("far") == "online", 30)
    command_id = admin.run("far", "echo over tls")
    eventually(lambda: admin.command(command_id)["targets"][0]["state"] == "finished", 30)


@pytest.mark.browser
def test_a_real_browser_shows_the_fleet_live(fleet: Running) -> None:
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(fleet.page)
        page.fill("input[name=name]", "admin")
        page.fill("input[name=password]", fleet.admin_password)
        page.press("input[name=password]", "Enter")
        page.get_by_role("row").filter(has_text="far").filter(has_text=re.compile(r"\d+\s*°C")).first.wait_for()
        context.close()


@pytest.mark.mosquitto
def test_mosquittos_client_gets_in_with_the_authority_and_not_without(fleet: Running, tls_port: int) -> None:
    program = program_or_skip("mosquitto_sub", "mosquitto-clients")

    def subscribe(host: str, *flags: str) -> subprocess.CompletedProcess[str]:
        login = ("-u", "admin", "-P", fleet.admin_password)
        topic = ("-t", "gpumon/far/status", "-C", "1", "-W", "10")
        command = [program, "-h", host, "-p", str(tls_port), *login, *topic, *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    cafile = ("--cafile", str(fleet.data.authority))
    assert subscribe(HOST, *cafile).stdout.strip() == "online"
    for refused in (subscribe(HOST), subscribe(HOST, "--cafile", "/etc/ssl/certs/ca-certificates.crt")):
        assert refused.returncode != 0
        assert refused.stdout == ""


def test_nothing_is_served_plain_beyond_this_machine(fleet: Running) -> None:
    with socket.create_connection(("127.0.0.1", fleet.mqtt_port), 5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, fleet.mqtt_port), 5)


def test_after_another_start_the_authority_is_the_same(fleet: Running, tmp_path: Path) -> None:
    before = fleet.data.authority.read_bytes()
    with gpumon_up(tmp_path, "--host", HOST, "--mqtts-port", str(free_port())) as first:
        made = first.data.authority.read_bytes()
        certificate = (first.data.certificates / "server.pem").read_bytes()
    with gpumon_up(tmp_path, "--host", HOST, "--mqtts-port", str(free_port())) as second:
        assert second.data.authority.read_bytes() == made != before
        assert (second.data.certificates / "server.pem").read_bytes() == certificate


def test_a_given_certificate_serves_page_and_broker_alike(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    text = ensure_server_certificate(tmp_path / "elsewhere", [HOST], now).read_text()
    at = text.index("-----BEGIN CERTIFICATE-----")
    (tmp_path / "cert.pem").write_text(text[at:])
    (tmp_path / "key.pem").touch(mode=0o600)
    (tmp_path / "key.pem").write_text(text[:at])
    port = free_port()
    flags = ("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"), "--mqtts-port", str(port))
    authority = str(tmp_path / "elsewhere" / "ca.crt")
    with gpumon_up(tmp_path, "--host", HOST, *flags, verify=authority) as running:
        assert requests.get(f"{running.page}/ca.crt", verify=authority, timeout=10).status_code == 404
        context = ssl.create_default_context(cafile=authority)
        with socket.create_connection((HOST, port), 5) as plain, context.wrap_socket(plain, server_hostname=HOST):
            pass
        assert not running.data.certificates.exists()


def test_behind_a_proxy_for_https_the_session_is_for_https_alone(tmp_path: Path) -> None:
    flags = ("--host", HOST, "--insecure-http", "--mqtts-port", str(free_port()))
    more = {"GPUMON_PAGE_ORIGINS": "https://gpus.example"}
    with gpumon_up(tmp_path, *flags, more=more) as running:
        answer = requests.get(f"{running.page}/login", timeout=10)
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "gpumon's page is at https://gpus.example\n" in running.said()
