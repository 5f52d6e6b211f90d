"""config/mosquitto/acl: the access table by password file and ACL file, at a real mosquitto as it is shipped."""

from __future__ import annotations

import getpass
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access_table import GPU, PUBLISHERS, SUBSCRIBERS, WIDER_AT_MOSQUITTO, may
from tests.foreign.support import ADMIN, Client, RefusedError, client, mosquitto_process
from tests.support import free_port, program_or_skip

pytestmark = pytest.mark.mosquitto

ACL_FILE = Path(__file__).parents[2] / "config" / "mosquitto" / "acl"
PASSWORD = "correct"
USERS = ("w1", "w2", "root", "eye", "research", "rack3", "home")
READABLE = [topic for topic in SUBSCRIBERS if not set("+#") & set(topic)]
# Discovery topics are granted to worker w1 alone, one by one.
NARROWER = {
    ("w1", f"homeassistant/device/gpumon_w1_{GPU.lower().replace('-', '_')}/config"),
    ("w2", "homeassistant/device/gpumon_w2/config"),
}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a mosquitto with both files."""
    folder, port = tmp_path_factory.mktemp("mosquitto"), free_port()
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    for user in (*USERS, ADMIN):
        command = [program_or_skip("mosquitto_passwd", "mosquitto"), "-b", str(passwords), user, PASSWORD]
        subprocess.run(command, check=True, capture_output=True)
    acl = folder / "acl"
    acl.write_bytes(ACL_FILE.read_bytes())
    acl.chmod(0o600)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\nallow_anonymous false\npersistence false\n"
        f"password_file {passwords}\nacl_file {acl}\n"
    )
    with mosquitto_process(configuration, port):
        yield port


@pytest.fixture(scope="module")
def master(port: int) -> Iterator[Client]:
    """The master, who hears everything."""
    with client(port, ADMIN, PASSWORD) as opened:
        opened.subscribe("#")
        yield opened


def until_the_end(listener: Client, master: Client) -> list[str]:
    """Return what the listener has got so far; the end goes where everybody may listen."""
    end = secrets.token_bytes(8)
    master.publish("gpumon/all/cmd", end)
    return sorted(listener.until(end))


@pytest.mark.parametrize("user", USERS)
def test_each_role_publishes_what_the_table_says(port: int, master: Client, user: str) -> None:
    with client(port, user, PASSWORD) as publisher:
        for topic in PUBLISHERS:
            publisher.publish(topic)
    expected = {topic for topic in PUBLISHERS if may(PUBLISHERS, user, topic) or (user, topic) in WIDER_AT_MOSQUITTO}
    narrower = {topic for name, topic in NARROWER if name == user}
    assert until_the_end(master, master) == sorted(expected - narrower)


@pytest.mark.parametrize("user", USERS)
def test_each_role_is_handed_what_the_table_says(port: int, master: Client, user: str) -> None:
    with client(port, user, PASSWORD) as reader:
        reader.subscribe("#")
        for topic in READABLE:
            master.publish(topic)
        expected = sorted(topic for topic in READABLE if may(SUBSCRIBERS, user, topic))
        assert until_the_end(reader, master) == expected
    until_the_end(master, master)


def test_a_person_can_pass_for_a_worker_of_the_own_name_as_the_file_warns(port: int, master: Client) -> None:
    with client(port, "eye", PASSWORD) as viewer:
        viewer.publish("gpumon/eye/status")
        viewer.publish("gpumon/eye/cmd")
    assert until_the_end(master, master) == ["gpumon/eye/status"]


@pytest.mark.parametrize(("user", "password"), [(None, ""), ("join", "a key"), ("w1", "wrong")])
def test_who_has_no_account_is_not_let_in(port: int, user: str | None, password: str) -> None:
    with pytest.raises(RefusedError), client(port, user, password):
        pass
