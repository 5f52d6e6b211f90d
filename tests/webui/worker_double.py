"""A worker that does what a test tells it: publishes what an agent would, over a real broker."""

from __future__ import annotations

import queue
import time
from typing import Any

from gpumon.address import BrokerAddress
from gpumon.commands import Cancel, Command, CommandOutput, CommandResult, Stream, parse_command
from gpumon.link import Credentials, InboundMessage, MqttLink
from gpumon.messages import Event, GpuInventory, GpuReading, HostReading, Info, Metrics, MigDevice, Process, encode
from gpumon.topics import Channel, Topics

GIB = 1024**3


def reading(index: int, **changes: Any) -> GpuReading:
    """Return a card with every reading, of which a test changes some."""
    values: dict[str, Any] = {
        "uuid": f"GPU-{index:08d}-0000-4000-8000-000000000000",
        "index": index,
        "name": "NVIDIA H200",
        "temperature_c": 41 + index,
        "memory_temperature_c": 44,
        "utilization_percent": 90,
        "memory_utilization_percent": 37,
        "sm_percent": 76.1,
        "tensor_percent": 41.2,
        "dram_percent": 38.0,
        "memory_used_bytes": 61 * GIB,
        "memory_total_bytes": 141 * GIB,
        "power_w": 612.4,
        "power_limit_w": 700.0,
        "energy_j": 7.2e9,
        "fan_percent": None,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 3201,
        "performance_state": 0,
        "throttle_reasons": ["sw_power_cap"],
        "encoder_percent": 0,
        "decoder_percent": 0,
        "pcie_generation": 5,
        "pcie_width": 16,
        "pcie_rx_bytes_per_s": 12_400_000,
        "pcie_tx_bytes_per_s": 3_100_000,
        "ecc_corrected": 0,
        "ecc_uncorrected": 0,
        "processes": [
            Process(
                pid=4242 + index,
                user="research",
                name="python",
                command="python train.py",
                memory_bytes=60 * GIB,
                sm_percent=88,
            )
        ],
    }
    return GpuReading(**{**values, **changes})


def idle(index: int, **changes: Any) -> GpuReading:
    """Return a card that does nothing for nobody."""
    nothing: dict[str, Any] = {"utilization_percent": 0, "memory_used_bytes": 0, "power_w": 75.0, "processes": []}
    return reading(index, **{**nothing, **changes})


def mig(index: int) -> GpuReading:
    """Return a card in MIG mode, which has no utilization of its own."""
    devices = [
        MigDevice(
            uuid=f"MIG-{number}",
            gpu_instance=number,
            compute_instance=0,
            profile="1g.18gb",
            memory_used_bytes=2 * GIB,
            memory_total_bytes=17 * GIB,
            sm_percent=30.0 + number,
            tensor_percent=10.0 + number,
            dram_percent=20.0 + number,
        )
        for number in (1, 2)
    ]
    return reading(index, utilization_percent=None, mig_devices=devices)


def lost(index: int) -> GpuReading:
    """Return a card that no longer answers."""
    return GpuReading(uuid=f"GPU-{index:08d}-0000-4000-8000-000000000000", name="NVIDIA H200", state="lost")


class WorkerDouble:
    """One worker on the broker."""

    def __init__(
        self,
        mqtt_port: int,
        worker_id: str,
        labels: dict[str, str] | None = None,
        credentials: Credentials | None = None,
        **info: Any,
    ) -> None:
        self.id = worker_id
        self.received: queue.Queue[Command | Cancel] = queue.Queue()
        self._labels = labels or {}
        self._info = info
        self._topics = Topics()
        self._sample_number = 0
        self._sequence: dict[str, int] = {}
        self._link = MqttLink(BrokerAddress("127.0.0.1", mqtt_port, tls=False), f"double-{worker_id}", credentials)
        self._link.subscribe(self._topics.worker(worker_id, Channel.COMMAND), 1, self._command_arrived)

    def connect(self) -> None:
        """Connect, and say so."""
        self._link.start()
        assert self._link.wait_connected(10)
        self._publish(Channel.STATUS, b"online", retain=True)

    def start(self, gpus: list[GpuReading]) -> WorkerDouble:
        """Connect and publish what an agent publishes first."""
        self.connect()
        values: dict[str, Any] = {
            "hostname": f"{self.id}.lab",
            "os": "Ubuntu 22.04.5 LTS",
            "kernel": "5.15.0-125-generic",
            "cpu": "AMD EPYC 9554 64-Core Processor",
            "cpu_count": 128,
            "memory_total_bytes": 1511 * GIB,
            "agent_version": "0.1.0",
            "source": "nvml",
            "driver_version": "580.159",
            "cuda_version": "13.0",
            "interval_s": 5.0,
            "labels": self._labels,
        }
        inventory = [
            GpuInventory(
                uuid=gpu.uuid,
                index=gpu.index,
                name=gpu.name,
                memory_total_bytes=gpu.memory_total_bytes,
                power_limit_w=gpu.power_limit_w,
                pci_bus_id=f"0000:{gpu.index or 0:02X}:00.0",
                vbios="96.00.AF.00.01",
                mig=bool(gpu.mig_devices),
            )
            for gpu in gpus
        ]
        self._publish(Channel.INFO, encode(Info(**{**values, **self._info}, gpus=inventory)), retain=True)
        self.sample(gpus)
        return self

    def stop(self, *, says_goodbye: bool = True) -> None:
        """Leave."""
        if says_goodbye:
            self._publish(Channel.STATUS, b"offline", retain=True)
        self._link.stop()

    def sample(self, gpus: list[GpuReading], **changes: Any) -> None:
        """Publish a sample."""
        self._sample_number += 1
        host = HostReading(
            cpu_percent=12.5,
            load_1m=3.2,
            memory_used_bytes=212 * GIB,
            memory_total_bytes=1511 * GIB,
            swap_used_bytes=0,
            disk_used_bytes=812 * GIB,
            disk_total_bytes=3500 * GIB,
            network_rx_bytes_per_s=1_200_000,
            network_tx_bytes_per_s=310_000,
            uptime_s=912_000.0,
        )
        values: dict[str, Any] = {
            "time": time.time(),
            "seq": self._sample_number,
            "interval_s": 5.0,
            "source": self._info.get("source", "nvml"),
            "gpus": gpus,
            "host": host,
        }
        self._publish(Channel.METRICS, encode(Metrics(**{**values, **changes})), qos=0, retain=True)

    def event(self, event: Event) -> None:
        """Publish that something happened."""
        self._publish(Channel.EVENT, encode(event))

    def publish_text(self, channel: Channel, text: str) -> None:
        """Publish anything."""
        self._publish(channel, text.encode())

    def next_command(self) -> Command:
        """Return the next command that arrives."""
        command = self.received.get(timeout=10)
        assert isinstance(command, Command)
        return command

    def next_cancel(self) -> Cancel:
        """Return the next cancellation that arrives."""
        command = self.received.get(timeout=10)
        assert isinstance(command, Cancel)
        return command

    def write(self, command: Command, data: str, stream: Stream = "stdout") -> None:
        """Publish a piece of a command's output."""
        number = self._sequence.get(command.id, 0)
        self._sequence[command.id] = number + 1
        self._publish(Channel.OUTPUT, encode(CommandOutput(id=command.id, seq=number, stream=stream, data=data)))

    def end(self, command: Command, exit_code: int | None = 0, **changes: Any) -> None:
        """Publish how a command ended."""
        values: dict[str, Any] = {
            "id": command.id,
            "command": command.command,
            "by": command.by,
            "state": "finished",
            "exit_code": exit_code,
            "started": time.time(),
            "duration_s": 0.21,
        }
        self._publish(Channel.RESULT, encode(CommandResult(**{**values, **changes})))

    def _command_arrived(self, message: InboundMessage) -> None:
        command = parse_command(message.payload)
        if command is not None:
            self.received.put(command)

    def _publish(self, channel: Channel, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        assert self._link.publish(self._topics.worker(self.id, channel), payload, qos=qos, retain=retain)
