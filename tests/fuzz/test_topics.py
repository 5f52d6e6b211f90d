"""Topics, filters and who may use them, for topics that nobody would think of."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from broker.access import is_never_retained, may_publish, may_read
from broker.subscriptions import SubscriptionTree, check_filter, filter_matches
from gpumon.errors import InvalidTopicError
from gpumon.roles import Principal, Role
from gpumon.topics import Channel, Topics, check_worker_id
from tests.fuzz.fuzzing import ODD_TEXT, fuzzed

TOPICS = Topics()
SLUG = "gpu-01234567-0123-0123-0123-0123456789ab"
NAMES = ["w1", "w2", "w1_2", "w1-host", "w1_w2", f"w1_{SLUG}", SLUG, "gpumon", "homeassistant", "device", "A" * 63]
CLIENT_IDS = ["c1", "c2", "c1/reply", "+", "#", "c1/+", "", "../c1", "$SYS", "cmd"]
LEVELS = [
    *("gpumon", "gpumon2", "homeassistant", "device", "status", "info", "metrics", "event", "cmd", "output", "result"),
    *("all", "master", "join", "audit", "alert", "reply", "config", "+", "#", "$SYS", "$share", "", "c1", "c2", *NAMES),
    *(f"gpumon_{name}" for name in NAMES),
    *(f"gpumon_{name}_{SLUG}" for name in NAMES),
]

names = st.one_of(st.sampled_from(NAMES), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True))
levels = st.one_of(st.sampled_from(LEVELS), ODD_TEXT)
topics = st.one_of(
    st.lists(levels, min_size=1, max_size=6).map("/".join),
    st.builds("gpumon/{}/{}".format, names, st.sampled_from([channel.value for channel in Channel])),
    st.builds("homeassistant/device/gpumon_{}/config".format, st.one_of(names, st.sampled_from(LEVELS))),
    st.builds("homeassistant/device/gpumon_{}_{}/config".format, names, st.one_of(st.just(SLUG), names)),
    st.builds("gpumon/join/{}".format, st.sampled_from(CLIENT_IDS)),
    st.builds("gpumon/join/{}/reply".format, st.sampled_from(CLIENT_IDS)),
)
workers = st.builds(Principal, names, st.just(Role.WORKER))
people = st.builds(
    Principal,
    names,
    st.sampled_from([Role.VIEWER, Role.OPERATOR, Role.INTEGRATION]),
    st.sampled_from([None, (), (("rack", "3"),)]),
)
strangers = st.just(Principal("join", Role.STRANGER))


@fuzzed("topics", topic=topics)
def test_a_topic_is_read_only_if_it_is_exactly_one_that_would_be_built(topic: str) -> None:
    try:
        worker_id, channel = TOPICS.read(topic)
    except InvalidTopicError:
        return
    assert TOPICS.worker(check_worker_id(worker_id), channel) == topic


@fuzzed(
    "topics",
    weight=5,
    found=[{"one": "w1", "other": f"w1_{SLUG}", "topic": f"homeassistant/device/gpumon_w1_{SLUG}/config"}],
    one=names,
    other=names,
    topic=topics,
)
def test_no_topic_may_be_published_to_by_two_workers(one: str, other: str, topic: str) -> None:
    assume(one != other)
    both = [may_publish(Principal(name, Role.WORKER), topic, TOPICS) for name in (one, other)]
    assert not all(both)


@fuzzed("topics", weight=2, worker=workers, topic=topics)
def test_a_worker_publishes_only_under_its_own_name_and_never_a_command(worker: Principal, topic: str) -> None:
    if may_publish(worker, topic, TOPICS):
        own = f"gpumon/{worker.name}/"
        assert topic.startswith((own, f"homeassistant/device/gpumon_{worker.name}"))
        assert not topic.endswith("/cmd")
        assert not set(topic) & set("+#\0")


@fuzzed("topics", worker=workers, topic=topics)
def test_what_a_worker_reads_is_its_own_and_has_no_wildcard(worker: Principal, topic: str) -> None:
    if may_read(worker, topic, TOPICS):
        assert topic in {f"gpumon/{worker.name}/cmd", f"gpumon/{worker.name}/status", "gpumon/all/cmd"} | {
            "homeassistant/status"
        }


@fuzzed("topics", weight=2, client_id=st.one_of(st.sampled_from(CLIENT_IDS), ODD_TEXT), topic=topics)
def test_a_stranger_has_its_own_question_and_answer_and_nothing_else(client_id: str, topic: str) -> None:
    stranger = Principal("join", Role.STRANGER)
    if may_publish(stranger, topic, TOPICS, client_id=client_id):
        assert topic == f"gpumon/join/{client_id}"
        assert topic.count("/") == 2
    if may_read(stranger, topic, TOPICS, client_id=client_id):
        assert topic == f"gpumon/join/{client_id}/reply"
        assert topic.count("/") == 3
        assert not set(topic) & set("+#")


@fuzzed("topics", weight=2, person=people, topic=topics, is_labelled=st.booleans())
def test_people_publish_nothing_but_commands_within_their_limits(
    person: Principal, topic: str, *, is_labelled: bool
) -> None:
    labels = {"rack": "3"} if is_labelled else {}
    if may_publish(person, topic, TOPICS, labels_of=lambda _worker_id: labels):
        if topic == "homeassistant/status":
            assert person.role is Role.INTEGRATION
            return
        assert topic.startswith("gpumon/")
        assert topic.endswith("/cmd")
        assert topic.count("/") == 2
        assert is_never_retained(topic, TOPICS)
        assert person.may_command({} if topic == "gpumon/all/cmd" else labels)


@fuzzed("topics", weight=2, person=st.one_of(people, workers, strangers), topic=topics)
def test_what_is_hidden_is_read_by_nobody_but_the_master_and_admins(person: Principal, topic: str) -> None:
    assert not may_read(person, "gpumon/audit", TOPICS, client_id="c1")
    if person.role is not Role.STRANGER:
        assert not may_read(person, f"gpumon/join/{topic}", TOPICS, client_id="c1")
    if may_read(person, topic, TOPICS, client_id="c1"):
        assert topic.startswith(("gpumon/", "homeassistant/")) or topic in ("gpumon", "homeassistant")
        assert not may_publish(person, "gpumon/audit", TOPICS, client_id="c1")


@fuzzed("filters", weight=5, topic_filter=topics, topic=topics)
def test_the_tree_finds_a_filter_exactly_where_the_rules_of_mqtt_do(topic_filter: str, topic: str) -> None:
    try:
        check_filter(topic_filter)
    except InvalidTopicError:
        return
    assume(not set(topic) & set("+#"))
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add(topic_filter, "reader", 1)
    tree.add("gpumon/other", "somebody else", 0)
    expected = _matches(topic_filter.split("/"), topic.split("/"))
    assert ("reader" in tree.match(topic)) is expected
    assert filter_matches(topic_filter, topic) is expected
    tree.remove(topic_filter, "reader")
    assert "reader" not in tree.match(topic)


def _matches(wanted: list[str], names: list[str], depth: int = 0) -> bool:
    """The rules of MQTT 3.1.1 section 4.7, written down once more."""
    if not wanted:
        return not names
    if wanted[0] in ("+", "#") and depth == 0 and names and names[0].startswith("$"):
        return False
    if wanted[0] == "#":
        return True
    return bool(names) and wanted[0] in ("+", names[0]) and _matches(wanted[1:], names[1:], depth + 1)
