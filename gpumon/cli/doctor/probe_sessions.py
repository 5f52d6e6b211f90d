"""What a broker's probe tries with connections: last wills, one client id twice, clean sessions and silence."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from gpumon.cli.doctor.finding import Finding
from gpumon.cli.doctor.probe_client import LastWill, NotLetInError, ProbeClient
from gpumon.cli.doctor.probe_ground import ANOTHER, Check, Ground, bad, good, warning

KEEPALIVE_S = 2
# One and a half keepalives (MQTT 3.1.1 section 3.1.2.10), and time for a broker that looks every few seconds.
LONGEST_SILENCE_S = 12.0
OFFLINE = b"offline"
ALLOW_WILLS = "allow wills there, and their topics to workers"


def last_will(ground: Ground) -> Iterator[Finding]:
    """Die as a worker that falls over, which its will shows as offline, to who comes later too (section 3.1.2.5)."""
    what = "last will"
    with ground.client() as watcher:
        watcher.subscribe(ground.kept)
        try:
            with ground.client(will=LastWill(ground.kept, OFFLINE, is_retained=True)) as worker:
                worker.die()
                arrives = watcher.hear(lambda heard: heard.payload == OFFLINE) is not None
            if not arrives:
                lost = "the will of a client that died did not arrive: workers that fall over stay online"
                yield bad(what, lost, ALLOW_WILLS)
                return
            yield good(what, "published when a client dies")
            kept = ground.retained_for(ground.kept)
            if kept is not None and kept.payload == OFFLINE:
                yield good("retained will", "kept for who comes later")
            else:
                lost = "a will is not retained: who comes later takes a worker that fell over for online"
                yield bad("retained will", lost, ANOTHER)
        finally:
            ground.clear(watcher)


def goodbye(ground: Ground) -> Iterator[Finding]:
    """Say goodbye, and have no will any more (section 3.14.4)."""
    what, topic = "will and goodbye", ground.topic("bye")
    with ground.client() as watcher:
        watcher.subscribe(topic)
        with ground.client(will=LastWill(topic, OFFLINE)):
            pass
        ground.mark(watcher)
        if watcher.hear(lambda heard: heard.topic == topic, 0.2):
            yield warning(what, "the will is published even when a client has said goodbye", "look into its log")
        else:
            yield good(what, "discarded when a client says goodbye")


def same_client_id(ground: Ground) -> Iterator[Finding]:
    """Connect twice, as an agent does that replaces its dead connection (section 3.1.4)."""
    what, client_id = "same client id", f"gpumon-{secrets.token_hex(8)}"
    with ground.client(client_id) as before:
        try:
            with ground.client(client_id):
                ends = before.ends()
        except NotLetInError as error:
            refused = f"a second connection with a client's id is refused ({error}): an agent cannot come back"
            yield bad(what, refused, "let a new connection replace the old one there")
            return
    if ends:
        yield good(what, "a new connection replaces the old one")
    else:
        both = "two connections may have one client id: what died half is not replaced"
        yield warning(what, both, "let a new connection replace the old one there")


def clean_session(ground: Ground) -> Iterator[Finding]:
    """Come back, as an agent that must not get the commands of the time it was away (section 3.1.2.4)."""
    what, topic, client_id = "clean session", ground.topic("away"), f"gpumon-{secrets.token_hex(8)}"
    with ground.client(client_id) as worker:
        worker.subscribe(topic)
    with ground.client() as writer:
        writer.publish(topic, b"while it was away")
    with ground.client(client_id) as worker:
        ground.mark(worker)
        waited = worker.hear(lambda heard: heard.topic == topic, 0.2)
        if waited or worker.has_old_session:
            yield bad(
                what, "a clean session remembers what was before: an agent gets old commands", "look into its log"
            )
        else:
            yield good(what, "nothing waits for who has gone")


def keepalive(silent: ProbeClient) -> Finding:
    """Say whether a client is put out that has fallen silent, as a machine does that loses its power."""
    what = "keepalive"
    if silent.is_put_out(LONGEST_SILENCE_S):
        return good(what, "a client that falls silent is put out")
    stays = (
        f"a client with a keepalive of {KEEPALIVE_S} s was silent for {LONGEST_SILENCE_S:g} s and is still connected: "
        "a machine that loses its power is taken for online"
    )
    return warning(what, stays, "let it close silent connections after 1.5 keepalives, as MQTT says")


CHECKS: list[Check] = [
    ("last will", last_will),
    ("will and goodbye", goodbye),
    ("clean session", clean_session),
]
