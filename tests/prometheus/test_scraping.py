"""The real Prometheus scrapes the real master, and finds what dashboards and rules ask for."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.prometheus.conftest import HOSTILE_NAME, Scraped, sample
from tests.prometheus.expressions import DASHBOARD, DASHBOARD_12239, expressions, filled
from tests.prometheus.server import configured, prometheus
from tests.support import eventually
from tests.webui.worker_double import WorkerDouble, reading

CARDS = [("ill", "2"), ("ill", "3"), ("well", "0"), ("well", "1")]


def test_the_master_is_scraped_over_tls_with_a_token(scraped: Scraped) -> None:
    targets = scraped.prometheus.targets()

    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")]
    assert targets[0]["scrapeUrl"] == f"{scraped.gpumon.page}/metrics"
    assert scraped.prometheus.values('up{job="gpumon"}') == [1.0]


@pytest.mark.parametrize("expression", DASHBOARD_12239)
def test_an_expression_of_dashboard_12239_gives_data(scraped: Scraped, expression: str) -> None:
    found = scraped.prometheus.query(filled(expression))

    assert found
    if not expression.startswith(("avg", "sum")):
        cards = sorted({(series["metric"]["instance"], series["metric"]["gpu"]) for series in found})
        assert cards in (CARDS, [card for card in CARDS if card != ("well", "1")])  # a cut card has no utilization


def test_the_use_of_tensor_cores_is_a_ratio_as_dcgm_has_it_and_of_a_cut_card_by_slice(scraped: Scraped) -> None:
    found = scraped.prometheus.query('DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{instance="well"}')

    told = {(series["metric"]["gpu"], series["metric"].get("GPU_I_ID")): series["value"][1] for series in found}
    assert told == {("0", None): "0.412", ("1", "1"): "0.11", ("1", "2"): "0.12"}


def test_the_variables_of_12239_list_workers_and_cards(scraped: Scraped) -> None:
    for label, values in (("instance", ["ill", "well"]), ("gpu", ["0", "1", "2", "3"])):
        arguments = {"match[]": "DCGM_FI_DEV_GPU_TEMP"}
        assert scraped.prometheus.get(f"label/{label}/values", **arguments) == values


@pytest.mark.parametrize(("title", "expression"), list(expressions(DASHBOARD)))
def test_an_expression_of_our_dashboard_gives_data(scraped: Scraped, title: str, expression: str) -> None:
    assert eventually(lambda: scraped.prometheus.query(filled(expression)), 30, 0.3), title


def test_the_variables_of_our_dashboard_list_workers_and_cards(scraped: Scraped) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            query = filled(variable["query"]["query"]).removeprefix("label_values(").removesuffix(")")
            matcher, _, label = query.rpartition(", ")
            assert scraped.prometheus.get(f"label/{label}/values", **{"match[]": matcher})


def test_every_rule_finds_what_it_is_for_and_nothing_else(scraped: Scraped) -> None:
    found = eventually(lambda: alerts if len(alerts := scraped.prometheus.alerts()) >= 4 else None, 30, 0.3)

    assert found == {
        "GpumonWorkerOffline": {"gone"},
        "GpumonGpuLost": {"ill"},
        "GpumonXid": {"ill"},
        "GpumonGpuHot": {"ill"},
    }


def test_a_master_that_is_down_and_a_wrong_token_are_both_told(scraped: Scraped, guide: Path, tmp_path: Path) -> None:
    configuration = configured(tmp_path, guide, scraped.gpumon.page, token=f"gpt_{'x' * 43}")

    with prometheus(configuration) as running:
        eventually(lambda: "GpumonMasterDown" in running.alerts(), 30, 0.3)
        error = running.targets()[0]["lastError"]

    assert error == "server returned HTTP status 401 UNAUTHORIZED"


def test_rules_about_the_master_ask_for_what_it_serves(scraped: Scraped) -> None:
    for expression in ("gpumon_broker_connected", "gpumon_database_problem", "gpumon_history_problem"):
        assert len(scraped.prometheus.values(expression)) == 1


def test_a_hostile_name_arrives_as_it_is(scraped: Scraped) -> None:
    found = scraped.prometheus.query('DCGM_FI_DEV_GPU_TEMP{instance="ill", gpu="3"}')

    shown = HOSTILE_NAME.replace("\x00", "\ufffd").replace("\r", "\ufffd")
    assert [series["metric"]["modelName"] for series in found] == [shown]


def test_series_of_what_is_gone_end_at_once(scraped: Scraped, workers: dict[str, WorkerDouble]) -> None:
    well = workers["well"]
    temperatures = 'DCGM_FI_DEV_GPU_TEMP{instance="well"}'
    gpus = [reading(0), reading(1)]
    with contextlib.ExitStack() as stack:
        stack.callback(sample, well, gpus)
        sample(well, [reading(0)])
        eventually(lambda: len(scraped.prometheus.query(temperatures)) == 1, 20, 0.2)
    eventually(lambda: len(scraped.prometheus.query(temperatures)) == 2, 20, 0.2)
