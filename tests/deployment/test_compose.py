"""docker-compose.yml, as far as it can be looked at without an engine; scripts/try-images starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib import resources
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from gpumon.settings import Settings
from gpumon.settings_sources import load_settings
from tests.deployment.files import COMPOSE, ROOT, SERVICES, VARIABLES, environment_of, interpolated, mounts_of
from tests.support import program_or_skip

OURS = ("master", "join", "agent", "passwords", "scrape")
DOCKER = ROOT / "config" / "docker"


def settings_of(service: str, **given: str) -> Settings:
    return load_settings({"data": "/nowhere"}, environment_of(service, given))


def test_it_is_what_the_compose_specification_allows() -> None:
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    jsonschema.validate(COMPOSE, json.loads((schemas / "compose-spec.json").read_text()))
    override = yaml.safe_load((DOCKER / "host-commands.yml").read_text())
    jsonschema.validate(override, json.loads((schemas / "compose-spec.json").read_text()))


def test_compose_itself_takes_it_with_every_profile() -> None:
    docker = program_or_skip("docker", "docker.io docker-compose")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    words = [docker, "compose", "--profile", "*", "-f", "docker-compose.yml", "-f", "config/docker/host-commands.yml"]
    finished = subprocess.run([*words, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_everything_that_a_service_names_is_there(service: str) -> None:
    declared = SERVICES[service]
    for target, source in mounts_of(service).items():
        assert source in COMPOSE["volumes"] if source[0] not in "./" else (ROOT / source).exists(), target
    build = declared.get("build", {})
    assert not build or f"AS {build['target']}\n" in (ROOT / "Dockerfile").read_text()
    assert set(declared.get("depends_on", {})) <= set(SERVICES)
    script = declared.get("entrypoint", declared.get("command", [""]))[-1]
    assert not script.startswith("/setup/") or script in mounts_of(service)


def test_every_variable_is_a_setting() -> None:
    for service in OURS:
        assert set(SERVICES[service].get("environment", {})) <= VARIABLES
    example = re.findall(r"^#([A-Z_]+)=", (DOCKER / "example.env").read_text(), re.MULTILINE)
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert len(example) > 5
    assert set(example) - {"COMPOSE_PROFILES"} <= used
    assert used <= VARIABLES


def test_without_an_env_file_the_settings_are_the_usual_ones() -> None:
    assert settings_of("master") == load_settings({"data": "/nowhere"}, {})
    assert settings_of("join") == settings_of("scrape") == settings_of("master")
    agent = settings_of("agent").agent
    assert (agent.worker_id, agent.master, agent.source, agent.commands) == (None, None, "auto", "any")
    assert mounts_of("agent")[str(Path(agent.join or "").parent)] == "join"


def test_the_join_service_leaves_the_line_where_the_agent_looks_for_it() -> None:
    words = [interpolated(word, {}) for word in SERVICES["join"]["command"]]
    assert words == ["join-key", "--address", "mqtts://master:8883", "--keep-in", "/app/join/line"]
    assert settings_of("agent").agent.join == words[-1]
    assert mounts_of("join")["/app/join"] == mounts_of("agent")["/app/join"]
    assert SERVICES["master"]["hostname"] == "master"  # in its certificate, since it is the machine's name
    given = {"GPUMON_BROKER_URL": "mqtts://mosquitto:8884"}
    assert interpolated(SERVICES["join"]["command"][2], given) == given["GPUMON_BROKER_URL"]


def test_the_agent_may_write_its_own_volume_alone() -> None:
    writable = [mount for mount in SERVICES["agent"]["volumes"] if not mount.endswith(":ro")]
    assert writable == ["agent-data:/app/data"]
    assert "master-data" not in mounts_of("agent").values()


@pytest.mark.parametrize("service", OURS)
def test_our_own_containers_have_no_privilege_and_a_read_only_root(service: str) -> None:
    declared = SERVICES[service]
    assert declared["pull_policy"] == "never"  # somebody else's image of that name shall not come in
    assert declared["read_only"] is True
    assert declared["cap_drop"] == ["ALL"]
    assert declared["security_opt"] == ["no-new-privileges:true"]
    assert declared["tmpfs"] == ["/tmp"]
    assert "privileged" not in declared


def test_a_profile_gets_the_password_that_is_made_for_it() -> None:
    given = {
        "GPUMON_DATABASE_URL": "postgresql://gpumon@postgres/gpumon",
        "GPUMON_BROKER_URL": "mqtts://mosquitto:8884",
    }
    settings = settings_of("master", **given)
    files = [settings.database.password_file, settings.broker.password_file, settings.broker.cafile]
    for file in files:
        kept = Path(file or "")
        made = Path("/app/secrets") / kept.parent.name
        assert mounts_of("master")[str(kept.parent)] == mounts_of("passwords")[str(made)]
    assert settings.broker.dynamic_security
    postgres = Path(SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"])
    assert mounts_of("postgres")[str(postgres.parent)] == "postgres-secret"


def test_passwords_are_made_once_for_those_who_need_them_alone(tmp_path: Path) -> None:
    openssl = program_or_skip("openssl", "openssl")
    for name in ("postgres", "mosquitto", "grafana"):
        (tmp_path / name).mkdir(mode=0o700)
    script = (DOCKER / "passwords").read_text().replace("/app/secrets", str(tmp_path))
    environment = {**os.environ, "GPUMON_TLS_NAMES": "gpu.lab,10.0.0.7,fd00::7"}
    made = []
    for _ in range(2):
        subprocess.run(["sh", "-c", script], env=environment, capture_output=True, check=True)
        made.append({path.name: path.read_bytes() for path in sorted(tmp_path.glob("*/*"))})
    assert made[0] == made[1]
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")}
    assert modes.pop("grafana/password") == 0o644
    assert set(modes.values()) == {0o600}
    folder = tmp_path / "mosquitto"
    for flag, name in ("-verify_hostname", "mosquitto"), ("-verify_hostname", "gpu.lab"), ("-verify_ip", "fd00::7"):
        words = [openssl, "verify", "-CAfile", str(folder / "ca.crt"), flag, name, str(folder / "server.crt")]
        assert subprocess.run(words, capture_output=True, check=False).returncode == 0, name


def test_its_mosquitto_is_the_one_that_is_documented_with_other_paths() -> None:
    differs = re.compile(r"^(#.*|plugin .*|plugin_opt_config_file .*|persistence_location .*|\w+file .*|listener .*|)$")
    usual, here = (
        [line for line in path.read_text().splitlines() if not differs.match(line)]
        for path in (ROOT / "config/mosquitto/mosquitto.conf", DOCKER / "mosquitto.conf")
    )
    assert usual == here
    assert "listener 8884\n" in (DOCKER / "mosquitto.conf").read_text()


def test_its_prometheus_and_grafana_are_the_documented_ones_with_other_addresses() -> None:
    usual, here = (
        yaml.safe_load(path.read_text())
        for path in (ROOT / "config/prometheus/prometheus.yml", DOCKER / "prometheus.yml")
    )
    (job,), (other) = usual.pop("scrape_configs"), here.pop("scrape_configs")[0]
    assert usual == here
    assert {name: job[name] for name in ("job_name", "honor_labels", "metrics_path")}.items() <= other.items()
    files = [other["authorization"]["credentials_file"], other["tls_config"]["ca_file"]]
    written = (DOCKER / "scrape").read_text()
    assert all(Path(file).name in written for file in (*files, *other["file_sd_configs"][0]["files"]))
    source, ours = (
        yaml.safe_load(path.read_text())["datasources"][0]
        for path in (
            ROOT / "config/grafana/provisioning/datasources/gpumon.yml",
            DOCKER / "grafana-datasource.yml",
        )
    )
    assert {**source, "url": "http://prometheus:9090"} == ours
