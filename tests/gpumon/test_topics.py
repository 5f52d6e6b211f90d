"""Topics and worker ids."""

from __future__ import annotations

import pytest

from gpumon.errors import InvalidTopicError
from gpumon.topics import RESERVED_IDS, Channel, Topics, check_worker_id, default_worker_id


@pytest.mark.parametrize("worker_id", ["w1", "gpu-01_lab", "A" * 63, "7"])
def test_ordinary_worker_ids_are_allowed(worker_id: str) -> None:
    assert check_worker_id(worker_id) == worker_id


@pytest.mark.parametrize("worker_id", ["", "a/b", "a#", "+", "-a", "_a", "a b", "a.b", "ä", "a" * 64, "a\n", "a\0"])
def test_ids_that_would_mean_something_in_a_topic_are_refused(worker_id: str) -> None:
    with pytest.raises(InvalidTopicError, match="not allowed"):
        check_worker_id(worker_id)


@pytest.mark.parametrize("worker_id", sorted(RESERVED_IDS))
def test_reserved_ids_are_refused_with_one_to_use_instead(worker_id: str) -> None:
    with pytest.raises(InvalidTopicError, match=f"{worker_id}-host"):
        check_worker_id(worker_id)


@pytest.mark.parametrize(
    ("hostname", "worker_id"),
    [
        ("gpu1", "gpu1"),
        ("gpu1.lab.example", "gpu1-lab-example"),
        ("master", "master-host"),
        ("büro", "b-ro"),
        ("-x", "x"),
        ("", "worker"),
        ("h" * 80, "h" * 63),
    ],
)
def test_the_default_worker_id_is_the_hostname_made_allowed(hostname: str, worker_id: str) -> None:
    assert default_worker_id(hostname) == worker_id
    assert check_worker_id(worker_id)


@pytest.mark.parametrize("channel", list(Channel))
def test_a_topic_that_is_built_reads_back(channel: Channel) -> None:
    topics = Topics("lab")
    assert topics.read(topics.worker("w1", channel)) == ("w1", channel)


@pytest.mark.parametrize(
    "topic",
    [
        "gpumon",
        "gpumon/w1",
        "gpumon/w1/other",
        "lab/w1/status",
        "gpumon/w1/cmd/output/x",
        "gpumon//status",
        "gpumon/all/cmd",
    ],
)
def test_topics_of_no_worker_are_not_read(topic: str) -> None:
    with pytest.raises(InvalidTopicError):
        Topics().read(topic)


def test_command_topics_are_those_that_agents_listen_on() -> None:
    topics = Topics()
    assert topics.is_command("gpumon/w1/cmd")
    assert topics.is_command(topics.command_to_all)
    assert not topics.is_command("gpumon/w1/cmd/output")
    assert not topics.is_command("other/w1/cmd")


def test_an_alerts_topic_reads_back() -> None:
    topics = Topics("lab")
    assert topics.alert("w1", "hot") == "lab/w1/alert/hot"
    assert topics.read_alert("lab/w1/alert/hot") == ("w1", "hot")


@pytest.mark.parametrize(
    "topic", ["gpumon/w1/alert", "gpumon/w1/alert/hot/x", "lab/w1/alert/hot", "gpumon/all/alert/hot"]
)
def test_topics_of_no_alert_are_not_read(topic: str) -> None:
    with pytest.raises(InvalidTopicError):
        Topics().read_alert(topic)
