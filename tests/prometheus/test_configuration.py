"""What stands in config/prometheus/ and config/grafana/ is taken by the programs it is for."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import requests

from tests.prometheus.conftest import GRAFANA, GUIDE, Scraped
from tests.prometheus.expressions import DASHBOARD, expressions, panels
from tests.support import program_or_skip

ROOT = Path(__file__).resolve().parents[2]


def promtool(*arguments: str, text: bytes = b"", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = program_or_skip("promtool", "prometheus")
    ended = subprocess.run([program, *arguments], input=text, capture_output=True, cwd=folder, timeout=60, check=False)
    return subprocess.CompletedProcess(
        ended.args, ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
    )


def test_promtool_takes_the_configuration_and_the_rules(guide: Path) -> None:
    assert stat.S_IMODE((guide / "gpumon.token").stat().st_mode) == 0o640
    config = promtool("check", "config", "prometheus.yml", folder=guide)
    rules = promtool("check", "rules", "--lint-fatal", "gpumon.rules.yml", folder=guide)

    assert config.returncode == 0, config.stdout + config.stderr
    assert "SUCCESS: 7 rules found" in config.stdout
    assert rules.returncode == 0, rules.stdout + rules.stderr


def test_promtool_finds_nothing_in_the_answer_but_names_that_are_dcgms(scraped: Scraped, guide: Path) -> None:
    token = (guide / "gpumon.token").read_text().strip()
    answer = requests.get(
        f"{scraped.gpumon.page}/metrics",
        headers={"Authorization": f"Bearer {token}"},
        verify=scraped.gpumon.verify,
        timeout=10,
    )

    found = promtool("check", "metrics", text=answer.content)

    lines = (found.stdout + found.stderr).splitlines()
    of_labels = "label names should be written in 'snake_case' not 'camelCase'"  # modelName
    of_names = 'counter metrics should have "_total" suffix'
    assert {line for line in lines if not line.endswith(of_labels)} == {
        f"{name} {of_names}"
        for name in (
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
            "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
            "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        )
    }
    of_cards = {"gpumon_gpu_up", "gpumon_gpu_processes"}
    assert {line.split()[0] for line in lines if not line.startswith("DCGM_")} == of_cards


def test_every_panel_of_the_dashboard_has_a_title_a_place_of_its_own_and_colours_of_the_theme() -> None:
    text = (ROOT / "config" / "grafana" / "dashboards" / "gpumon.json").read_text()
    all_panels = panels(DASHBOARD)
    on_top = DASHBOARD["panels"]
    grids = [on_top, *(panel["panels"] for panel in on_top if panel["type"] == "row" and panel["panels"])]
    places = [
        (number, x, y)
        for number, grid in enumerate(grids)
        for place in (panel["gridPos"] for panel in grid)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert all(panel["title"] for panel in all_panels)
    assert len({panel["id"] for panel in all_panels}) == len(all_panels)
    assert len(places) == len(set(places))
    assert max(x for _, x, _ in places) < 24
    # Named colours follow Grafana's light and dark theme.
    assert not re.search(r'"#[0-9a-fA-F]{3,8}"|rgba?\(', text)


def test_the_dashboard_asks_for_its_worker_and_gpu_wherever_there_are_some() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "worker", "gpu"}
    fleet_wide = re.compile(r"gpumon_(workers|gpus|alerts|ingest|database|page|commands)")
    for title, expression in expressions(DASHBOARD):
        for metric, labels in re.findall(r"((?:DCGM|gpumon)_\w+)(\{[^}]*\})?", expression):
            assert fleet_wide.match(metric) or "$worker" in labels, f"{title}: {expression}"


def test_the_provisioned_data_source_and_dashboards_are_those_of_the_guide() -> None:
    folder = ROOT / "config" / "grafana" / "provisioning"
    source = (folder / "datasources" / "gpumon.yml").read_text()
    dashboards = (folder / "dashboards" / "gpumon.yml").read_text()
    shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / "config" / "grafana").rglob("*.*")}

    assert "type: prometheus" in source
    path = re.search(r"path: (\S+)", dashboards)
    assert path is not None
    assert path[1] in GRAFANA
    assert set(re.findall(r"config/grafana/\S+", GRAFANA)) == shipped


def test_the_guides_job_is_that_of_the_file() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    in_file = (ROOT / "config" / "prometheus" / "prometheus.yml").read_text()

    for word in re.findall(r"[\w.:-]+", blocks[0]):
        assert word in in_file
