"""What a broker's probe tries with messages: QoS 1, their order, large ones, and what is retained."""

from __future__ import annotations

from collections.abc import Iterator

from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.probe_client import ProbeError
from gpumon.cli.doctor.probe_ground import ANOTHER, Check, Ground, bad, good, warning

IN_A_ROW = 200
# A result holds 64 KiB of output, which JSON may make longer; a sample with thousands of processes nears a megabyte.
SIZES = ((100_000, "100 KB", Verdict.BAD), (1_000_000, "1 MB", Verdict.WARNING))
RAISE_LIMIT = "raise its limit on the size of packets (mosquitto: max_packet_size, message_size_limit)"
ALLOW_RETAINED = "allow retained messages there (mosquitto: retain_available)"


def qos_1(ground: Ground) -> Iterator[Finding]:
    """Send as commands and results are sent, since they must arrive: at QoS 1 (MQTT 3.1.1 section 4.3.2)."""
    what, topic = "QoS 1", ground.topic("qos")
    with ground.client() as client:
        granted = client.subscribe(topic)
        client.publish(topic, b"once")
        heard = client.hear(lambda message: message.topic == topic)
    if granted == 0 or (heard is not None and heard.qos == 0):
        yield bad(what, "it delivers at QoS 0 what asks for QoS 1, so a command can get lost", "allow QoS 1 there")
    elif heard is None:
        yield bad(what, "a message that it has acknowledged did not arrive", "look into its log")
    else:
        yield good(what, "acknowledged and delivered")


def order(ground: Ground) -> Iterator[Finding]:
    """Send many in a row: output comes in pieces, and a status can change fast (MQTT 3.1.1 section 4.6)."""
    what, topic = "order", ground.topic("row")
    sent = [str(number).encode() for number in range(IN_A_ROW)]
    with ground.client() as reader, ground.client() as writer:
        reader.subscribe(topic)
        writer.publish_all(topic, sent)
        came = [heard.payload for heard in reader.hear_many(IN_A_ROW, 2 * ground.way.patience_s)]
    if missing := len(set(sent) - set(came)):
        to_do = "raise its limits on rates and queues (mosquitto: max_queued_messages)"
        yield bad(what, f"{missing} of {IN_A_ROW} messages sent in a row did not arrive", to_do)
    elif len(came) > IN_A_ROW:
        yield warning(what, f"{len(came) - IN_A_ROW} of {IN_A_ROW} messages came twice", "look into its log")
    elif came != sent:
        yield bad(what, f"{IN_A_ROW} messages came in another order than they were sent in", "use another broker")
    else:
        yield good(what, f"{IN_A_ROW} messages in a row, in order")


def large(ground: Ground) -> Iterator[Finding]:
    """Send large ones, as samples of many processes and results with much output are."""
    for size, what, verdict in SIZES:
        topic, payload = ground.topic("large"), b"x" * size
        name = f"{what} messages"
        problem = "they are acknowledged, and not delivered"
        with ground.client() as client:
            client.subscribe(topic)
            try:
                client.publish(topic, payload)
                if client.hear(lambda message: bool(message.payload)):
                    yield good(name, "delivered")
                    continue
            except ProbeError as error:
                problem = f"not taken: {error}"
        yield Finding(name, verdict, problem, RAISE_LIMIT)


def retained(ground: Ground) -> Iterator[Finding]:
    """Come later, as who learns status, inventory and last sample from what is retained (section 3.3.1.3)."""
    with ground.client() as writer:
        try:
            writer.publish(ground.kept, b"first", retain=True)
            writer.publish(ground.kept, b"second", retain=True)
        except ProbeError as error:
            yield bad("retained", f"it retains nothing: {error}", f"{ALLOW_RETAINED}, or {ANOTHER}")
            return
        try:
            yield from _kept(ground)
        finally:
            ground.clear(writer)
    what = "retained cleared"
    if ground.retained_for(ground.kept) is None:
        yield good(what, "an empty message clears a topic")
    else:
        yield bad(
            what, "an empty message does not clear its topic: workers that were removed stay", "look into its log"
        )


def _kept(ground: Ground) -> Iterator[Finding]:
    what = "retained"
    kept = ground.retained_for(ground.kept)
    if kept is None:
        lost = "it retains nothing: who comes later sees a worker only once that says something"
        yield bad(what, lost, f"{ALLOW_RETAINED}, or {ANOTHER}")
        return
    if kept.payload != b"second":
        yield bad(what, "it retains the first message of a topic, not the last", ANOTHER)
    elif not kept.is_retained:
        yield bad(what, "it does not mark what is retained as such, by which agents refuse old commands", ANOTHER)
    else:
        yield good(what, "kept for who comes later")
    for wildcard, topic_filter in (
        ("+", f"{ground.base}/+/{ground.kept.rpartition('/')[2]}"),
        ("#", f"{ground.base}/{ground.name}/#"),
    ):
        name = f"retained for {wildcard}"
        if ground.retained_for(topic_filter) is not None:
            yield good(name, f"who subscribes with {wildcard} gets them too")
        else:
            none = f"who subscribes with {wildcard} gets nothing that is retained"
            means = (
                "the master, after its start, knows a worker only once that says something" if wildcard == "+" else ""
            )
            yield bad(name, f"{none}: {means}" if means else none, ANOTHER)


CHECKS: list[Check] = [
    ("QoS 1", qos_1),
    ("order", order),
    ("large messages", large),
    ("retained", retained),
]
