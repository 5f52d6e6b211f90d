"""Mosquitto's own clients, as operators use them, against the broker."""

from __future__ import annotations

import subprocess

import pytest

from tests.broker.support import PASSWORD, RunningBroker, client
from tests.support import eventually, program_or_skip

pytestmark = pytest.mark.mosquitto


def _command(name: str, broker: RunningBroker, user: str, *arguments: str) -> list[str]:
    program = program_or_skip(name, "mosquitto-clients")
    return [program, "-p", str(broker.port), "-u", user, "-P", PASSWORD, *arguments]


def _publish(broker: RunningBroker, user: str, *arguments: str) -> int:
    return subprocess.run(_command("mosquitto_pub", broker, user, *arguments), timeout=20, check=False).returncode


def test_an_operator_runs_a_command_and_sees_what_comes_back(broker: RunningBroker) -> None:
    arguments = ("-t", "gpumon/w1/cmd/#", "-q", "1", "-C", "3", "-W", "20")
    with client(broker.port, "w1") as worker:
        worker.subscribe("gpumon/w1/cmd", 1)
        watching = subprocess.Popen(
            _command("mosquitto_sub", broker, "research", *arguments), stdout=subprocess.PIPE, text=True
        )
        eventually(lambda: broker.counters.connections == 2)
        worker.publish("gpumon/w1/cmd/output", "starting", 1)
        assert _publish(broker, "research", "-t", "gpumon/w1/cmd", "-m", "nvidia-smi -L") == 0
        assert worker.get().payload == b"nvidia-smi -L"
        worker.publish("gpumon/w1/cmd/output", "GPU 0", 1)
        worker.publish("gpumon/w1/cmd/result", "done", 1)
        worker.publish("gpumon/w1/cmd/result", "in case the first came before the subscription", 1)
        output, _ = watching.communicate(timeout=20)
        assert watching.returncode == 0
        assert "nvidia-smi -L\nGPU 0\n" in output


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquittos_clients_publish_and_read_at_every_qos(broker: RunningBroker, qos: str) -> None:
    assert _publish(broker, "w1", "-t", "gpumon/w1/status", "-m", "online", "-r", "-q", qos) == 0
    command = _command("mosquitto_sub", broker, "eye", "-t", "gpumon/+/status", "-q", qos, "-C", "1", "-W", "10")
    read = subprocess.run([*command, "-F", "%t %p %r %q"], capture_output=True, text=True, timeout=20, check=True)
    assert read.stdout == f"gpumon/w1/status online 1 {min(int(qos), 1)}\n"


def test_a_wrong_password_and_a_refused_subscription_are_told(broker: RunningBroker) -> None:
    program = program_or_skip("mosquitto_pub", "mosquitto-clients")
    wrong = [program, "-p", str(broker.port), "-u", "w1", "-P", "wrong", "-t", "gpumon/w1/status", "-m", "x"]
    refused = subprocess.run(wrong, capture_output=True, text=True, timeout=20, check=False)
    assert (refused.returncode, "not authorised" in refused.stderr) == (5, True)
    command = _command("mosquitto_sub", broker, "w1", "-t", "gpumon/#", "-W", "5")
    denied = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert "denied" in denied.stderr


def test_mqtt_5_is_refused_and_mosquitto_says_so(broker: RunningBroker) -> None:
    command = _command("mosquitto_pub", broker, "w1", "-V", "mqttv5", "-t", "gpumon/w1/status", "-m", "x")
    refused = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode != 0
    assert "protocol version" in refused.stderr.lower()
