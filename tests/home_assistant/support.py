"""A real Home Assistant to test against, seen and used through its own interfaces.

It needs a Python and packages of its own, which `scripts/home-assistant` installs; without them tests are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from websocket import create_connection

from tests.end_to_end.running import CLEAN_ENVIRONMENT
from tests.support import eventually, free_port, stopping

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "GPUMON_TEST_HOME_ASSISTANT"  # the Python that Home Assistant is installed in
INSTALLED = ROOT / ".home-assistant" / "bin" / "python"
INSTANCE = Path(__file__).with_name("instance.py")
START_S = 60.0


def home_assistants_python() -> Path:
    """Return the Python that Home Assistant is installed in, or skip the test."""
    python = Path(os.environ.get(VARIABLE, INSTALLED))
    if not python.exists():
        pytest.skip(f"Home Assistant is not installed: run scripts/home-assistant, or name its Python in {VARIABLE}")
    return python


@dataclass(frozen=True, slots=True)
class HomeAssistant:
    """One that runs."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    log: Path
    _session: requests.Session = field(default_factory=requests.Session)

    def said(self) -> list[str]:
        """Return the warnings and errors that it has logged, but for what it says of a topic that is cleared twice."""
        lines = self.log.read_text().splitlines()
        told = [line for line in lines if line.startswith(("WARNING:homeassistant.comp", "ERROR:homeassistant"))]
        return [line for line in told if "No device components to cleanup" not in line]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Use its REST interface."""
        self._session.headers["Authorization"] = f"Bearer {self.token}"
        answer = self._session.request(method, f"http://127.0.0.1:{self.port}/api/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def listed(self, command: str) -> list[dict[str, Any]]:
        """Return a registry's list by its WebSocket interface."""
        with contextlib.closing(create_connection(f"ws://127.0.0.1:{self.port}/api/websocket", timeout=30)) as socket:
            socket.recv()
            socket.send(json.dumps({"type": "auth", "access_token": self.token}))
            assert json.loads(socket.recv())["type"] == "auth_ok"
            socket.send(json.dumps({"id": 1, "type": command}))
            answer = json.loads(socket.recv())
        assert answer["success"], answer
        result: list[dict[str, Any]] = answer["result"]
        return result

    def devices(self) -> dict[str, dict[str, Any]]:
        """Return MQTT's devices by their identifier."""
        devices = self.listed("config/device_registry/list")
        return {identifier[1]: device for device in devices for identifier in device["identifiers"]}

    def entities(self) -> dict[str, dict[str, Any]]:
        """Return what is registered of each of MQTT's entities, by its unique id."""
        return {entity["unique_id"]: entity for entity in self.listed("config/entity_registry/list")}

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each entity by its unique id, those that are switched off left out."""
        states = {state["entity_id"]: state for state in self.ask("GET", "states")}
        entities = self.entities()
        return {
            unique_id: states[entity["entity_id"]]
            for unique_id, entity in entities.items()
            if entity["entity_id"] in states
        }

    def state(self, unique_id: str) -> str | None:
        """Return the state of one entity, None where there is no such entity."""
        found = self.states().get(unique_id)
        return None if found is None else str(found["state"])

    def press(self, unique_id: str) -> None:
        """Press a button."""
        self.ask("POST", "services/button/press", {"entity_id": self.entities()[unique_id]["entity_id"]})

    def use_broker(self, port: int, username: str | None = None, password: str | None = None) -> None:
        """Set up its MQTT integration as a person does on its page."""
        given: dict[str, Any] = {"broker": "127.0.0.1", "port": port}
        if username is not None:
            given |= {"username": username, "password": password}
        flow = self.ask("POST", "config/config_entries/flow", {"handler": "mqtt"})
        flow = self.ask("POST", f"config/config_entries/flow/{flow['flow_id']}", given)
        assert flow["type"] == "create_entry", flow


@contextlib.contextmanager
def home_assistant(folder: Path) -> Iterator[HomeAssistant]:
    """Run Home Assistant with its data in this folder until the block ends; the same folder again is a restart."""
    python = home_assistants_python()
    folder.mkdir(exist_ok=True)
    (folder / "configuration.yaml").touch()
    port = free_port()
    log = folder.with_suffix(".log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [str(python), str(INSTANCE), str(folder), str(port)],
            env=CLEAN_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with stopping(process):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield HomeAssistant(process, port, json.loads(line)["token"], log)


def shown(home: HomeAssistant, unique_id: str, state: str, timeout_s: float = START_S) -> None:
    """Wait until an entity shows this state."""
    eventually(lambda: home.state(unique_id) == state, timeout_s, 0.25)
