"""A master's part that tells, to be killed: makes alerts and tells a webhook of them until it is.

    python -m tests.master.telling.kill_target FOLDER PORT FIRST SECONDS

Alerts get numbers from FIRST on, every third ends soon. SECONDS: how long it makes new ones (0: it only tells what is
left). Prints `ready` once it tells, and `done` when nothing is left.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from gpumon.datafolder import DataFolder
from gpumon.settings import AlertSettings, ChannelSettings
from master.alerts.alert_store import AlertStore
from master.alerts.records import Alert
from master.audit import AuditTrail
from master.bus import EventBus
from master.events import AlertChanged
from master.prepare import prepare
from master.store.engine import Store
from master.store.writer import Writer
from master.telling.telling import Telling
from tests.master.telling.support import Desk, alert


def main(folder: Path, port: int, first: int, seconds: float) -> None:
    """Tell, until killed or done."""
    data = DataFolder(folder)
    prepare(data)
    store = Store(data)
    store.start()
    writer = Writer(store)
    writer.start()
    kept = AlertStore(store, writer)
    bus = EventBus()

    class KeptDesk(Desk):
        def alert(self, alert_id: str) -> Alert | None:
            return self.alerts.get(alert_id) or kept.alert(alert_id)

    desk = KeptDesk({item.alert.id: item.alert for item in kept.open_alerts()})
    channels = {"hook": ChannelSettings(webhook=f"http://127.0.0.1:{port}/", gather_s=0.2)}
    telling = Telling(
        store, writer, bus, desk, audit=AuditTrail(store, writer), settings=AlertSettings(channels=channels)
    )
    telling.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()

    def changes(changed: Alert) -> None:
        number = kept.keep(changed)
        while not kept.has_stored(number):
            time.sleep(0.002)
        desk.alerts[changed.id] = changed
        bus.publish(AlertChanged(changed))

    end = time.monotonic() + seconds
    number = first
    while time.monotonic() < end:
        made = alert(number, since=time.time())
        changes(made)
        if number % 3 == 0:
            time.sleep(0.3)
            changes(replace(made, state="resolved", until=time.time()))
        time.sleep(0.05)
        number += 1
    while any(view.waiting for view in telling.channels()):
        time.sleep(0.05)
    telling.stop()
    writer.stop()
    store.stop()
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
