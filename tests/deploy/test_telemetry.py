"""Prometheus' alarms, the dashboard and the containers beside an installation: they ask for figures that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml  # type: ignore[import-untyped] # it has no types
from aiohttp import ClientSession

from chassis.bus import InProcessBus
from chassis.settings import SERVICE_NAMES, Settings
from gateway.figures import gateway_samples
from gateway.limits import RateLimits
from gateway.upstream import HttpUpstream, Streams
from tests.chassis.buses import eventually
from tests.harness import Databases
from tests.whole import linli

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "telemetry"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.telemetry.yml").read_text())
PARTS = ("gateway", *SERVICE_NAMES)
BESIDES = sorted(COMPOSE["services"].keys() - set(PARTS))
ALERTS = (FOLDER / "alerts.yml").read_text()
DASHBOARD = (FOLDER / "dashboard.json").read_text()


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\blinli_\w+", text))


async def test_alarms_and_dashboard_ask_for_figures_that_there_are(databases: Databases, server_url: str) -> None:
    upstream = HttpUpstream(cast("ClientSession", None), "http://orders:8000", Streams())
    limits = RateLimits(Settings(environment="development"))
    told = {sample.name for sample in await gateway_samples({"orders": upstream}, limits)}
    async with linli(databases, server_url, InProcessBus()) as stack:

        async def all_told() -> bool:
            page = (await stack.metrics.page()).decode()
            told.update(names_in(page))
            return "linli_events_handled_total" in told and "linli_http_request_seconds_count" in told

        # The first operator is made at the start, and told to everybody; members' keys are fetched by who verifies.
        stack.metrics.requests.count("gateway", "GET", "/api/v1/needs", 200, 0.01)
        await eventually(all_told, within_s=30)
    asked = names_in(ALERTS) | names_in(DASHBOARD)
    assert len(asked) > 10
    assert asked - told == set()
    # The control: a name that is mistyped would be seen.
    assert names_in("sum(linli_outbox_row)") - told == {"linli_outbox_row"}


def test_every_alarm_says_for_how_long_how_bad_and_what() -> None:
    rules = yaml.safe_load(ALERTS)["groups"][0]["rules"]
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
    tried = {
        one["alertname"]
        for one in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"][0]["alert_rule_test"]
    }
    assert tried <= {rule["alert"] for rule in rules}


def test_every_panel_asks_prometheus() -> None:
    panels = json.loads(DASHBOARD)["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    sources = {source["uid"] for source in yaml.safe_load((FOLDER / "grafana-sources.yml").read_text())["datasources"]}
    for panel in panels:
        assert {target["datasource"]["uid"] for target in panel["targets"]} <= sources


def test_prometheus_looks_for_every_part_where_it_listens() -> None:
    [job] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert set(found["names"]) == set(PARTS)
    assert f"LINLI_METRICS_PORT={found['port']}" in (ROOT / "Dockerfile").read_text()


def test_every_part_sends_its_traces_to_the_collector() -> None:
    for part in PARTS:
        assert COMPOSE["services"][part] == {"environment": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}}


@pytest.mark.parametrize("name", BESIDES)
def test_a_container_beside_them_can_do_little_and_is_reached_on_loopback_only(name: str) -> None:
    container = COMPOSE["services"][name]
    assert (container["read_only"], container["cap_drop"]) == (True, ["ALL"])
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["mem_limit"]
    assert container["user"] not in {"root", "0"}
    assert re.search(r":v?\d+\.\d+\.\d+$", container["image"]), "a version, not the newest"
    assert all(port.startswith("127.0.0.1:") for port in container.get("ports", []))
