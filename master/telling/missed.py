"""Which alerts ended unheard: the master was killed after they were kept, and before they were put down to be told."""

from __future__ import annotations

from master.telling.outbox import Kept

# What is to be told is put down within seconds: what had begun well before the newest of it was not for this channel.
_SLACK_S = 60.0


def missed(kept: Kept, channel: str) -> list[str]:
    """Return the ids of alerts that are over and of which the channel has something to put down.

    Those whose end is not put down while their beginning is; and those that began since something was last put down
    for the channel, so that one that is new, or was away, is not told of yesterday.
    """
    rows = {row.key for row in kept.rows if row.channel == channel}
    newest = kept.newest.get(channel)
    return [
        alert_id
        for alert_id, since in kept.ended.items()
        if (alert_id, "resolved") not in rows
        and ((alert_id, "firing") in rows or (newest is not None and since >= newest - _SLACK_S))
    ]
