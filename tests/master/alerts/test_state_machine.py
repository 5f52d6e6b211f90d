"""Whatever comes in whichever order: never two firing alerts of one subject, and each ends once."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from master.alerts.builtin import BUILT_IN
from master.alerts.rule_parsing import parse_rule
from tests.master.alerts.support import ANNA, World, hot
from tests.master.support import gpu

QUICK = {
    "hot": {"for_s": 8},
    "gpu-lost": {"for_s": 0},
    "worker-offline": {"for_s": 5},
    "warm": {"kind": "temperature", "above": 60, "clear": 50, "for_s": 0, "labels": {"rack": "3"}},
}
WORKERS = st.sampled_from(["w1", "w2"])
CARDS = st.lists(
    st.sampled_from(
        [hot(40), hot(55), hot(65), hot(90), hot(None), hot(90, 1), gpu(state="lost"), gpu(1, ecc_uncorrected=1)]
    ),
    max_size=2,
    unique_by=lambda card: str(card["uuid"]),
)


class Alerts(RuleBasedStateMachine):
    """A desk to which anything may happen, restarts as well."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.told: list[tuple[str, str, tuple[str, str, str | None]]] = []
        self._start(1_780_000_000.0)

    def _start(self, at: float) -> None:
        self.world = World(self.folder / "data", QUICK, at=at)

    @rule(worker=WORKERS, cards=CARDS, degraded=st.booleans())
    def sample(self, worker: str, cards: list[dict[str, object]], degraded: bool) -> None:
        self.world.samples(*cards, worker_id=worker, health="degraded" if degraded else "ok")

    @rule(worker=WORKERS, seconds=st.sampled_from([1, 5, 12]), card=st.sampled_from([hot(65), hot(90)]))
    def goes_on(self, worker: str, seconds: float, card: dict[str, object]) -> None:
        self.world.reads(seconds, card, worker_id=worker)

    @rule(worker=WORKERS, kind=st.sampled_from(["xid", "ecc"]), card=st.sampled_from(["GPU-0", "GPU-7", None]))
    def event(self, worker: str, kind: str, card: str | None) -> None:
        self.world.happens(kind, 79, worker_id=worker, gpu=card)

    @rule(worker=WORKERS, status=st.sampled_from(["online", "offline"]))
    def status(self, worker: str, status: str) -> None:
        self.world.publish(f"gpumon/{worker}/status", status)

    @rule(worker=WORKERS, rack=st.sampled_from(["3", "4"]))
    def labels(self, worker: str, rack: str) -> None:
        self.world.comes_online(worker, labels={"rack": rack})

    @rule(worker=WORKERS)
    def removed(self, worker: str) -> None:
        self.world.fleet.forget(worker)

    @rule(seconds=st.sampled_from([1, 30, 4000]))
    def time_passes(self, seconds: float) -> None:
        self.world.wait(min(seconds, 70))
        self.world.passed += max(0, seconds - 70)

    @rule(step=st.sampled_from([-4000.0, 4000.0]))
    def clock_is_set(self, step: float) -> None:
        self.world.wall_offset += step

    @rule()
    def broker_goes_or_comes(self) -> None:
        self.world.listening = not self.world.listening

    @rule(enabled=st.booleans())
    def rule_changes(self, enabled: bool) -> None:
        self.world.desk.put_rule(parse_rule("hot", {"enabled": enabled, "for_s": 3}, BUILT_IN["hot"]), ANNA)

    @rule()
    def acknowledged(self) -> None:
        for alert in self.world.desk.active():
            self.world.desk.acknowledge(alert.id, ANNA)

    @rule(away_s=st.sampled_from([1, 600]))
    def restart(self, away_s: float) -> None:
        self._note()
        self.world.stop()
        self._start(self.world.wall() + away_s)

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "world"):
            return
        assert max(Counter(self.world.firing).values(), default=0) <= 1
        self._note()

    def _note(self) -> None:
        for alert in self.world.settle():
            self.told.append((alert.id, alert.state, (alert.rule, alert.worker_id, alert.gpu)))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self._note()
        active = {alert.id for alert in self.world.desk.active()}
        self.world.stop()
        shutil.rmtree(self.folder)
        firing: dict[tuple[str, str, str | None], str] = {}
        ended: set[str] = set()
        for alert_id, state, subject in self.told:
            assert alert_id not in ended, "told again after its end"
            if state == "resolved":
                assert firing.pop(subject) == alert_id
                ended.add(alert_id)
            else:
                assert firing.setdefault(subject, alert_id) == alert_id
        assert set(firing.values()) == active


TestAlerts = Alerts.TestCase
TestAlerts.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
