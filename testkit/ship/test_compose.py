"""compose.yaml: valid, without secrets, and its parts do what they are there for."""

import http.client
import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
import yaml
from conftest import (
    COLLECTOR,
    CONTROL_DRAIN,
    FAREWELL,
    FLUSH,
    PYTHON_TOOLS,
    ROOT,
    TOOLS,
    free_port,
    run,
    started,
)

FILES = ["compose.yaml", "compose/tls.yaml"]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
CADDYFILE = ROOT / "compose/Caddyfile"
OURS = ["migrate", "control", "proxy-1", "proxy-2"]


def test_the_files_are_valid():
    run(PYTHON_TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *FILES)


def understood(*arguments, **variables):
    """What Compose itself makes of the files, as services."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"} | variables
    text = run(PYTHON_TOOLS / "docker-compose", *arguments, "config", "--format", "json", env=env)
    return json.loads(text)["services"]


def test_compose_understands_them():
    plain = understood("--file", "compose.yaml")
    assert plain.keys() == SERVICES.keys() - {"simulator"}
    ports = [it["published"] for it in plain["balancer"]["ports"]]
    assert ports == ["8080", "8000"]
    # TLS adds its ports, and changes nothing else.
    tls = understood(*(part for file in FILES for part in ("--file", file)))
    assert [it["published"] for it in tls["balancer"]["ports"]] == [*ports, "80", "443", "443"]
    tls["balancer"]["ports"] = plain["balancer"]["ports"]
    assert tls == plain


def test_compose_gives_the_simulators_to_every_process():
    with_simulators = understood("--profile", "simulators", SETTINGS_FILE="compose/simulators.env")
    assert with_simulators.keys() == SERVICES.keys()
    for proxy in ["proxy-1", "proxy-2"]:
        url = with_simulators[proxy]["environment"]["PROXY_PLAN_API_URL"]
        assert url == "http://simulator:8090"


def test_compose_takes_what_a_host_says():
    given = {"CLIENT_BIND": "0.0.0.0", "CLIENT_PORT": "80", "PUBLIC_URL": "https://a.example.com"}
    services = understood("--file", "compose.yaml", **given)
    client, console = services["balancer"]["ports"]
    assert (client["host_ip"], client["published"]) == ("0.0.0.0", "80")
    assert console["host_ip"] == "127.0.0.1"
    assert services["control"]["environment"]["PROXY_PUBLIC_URL"] == given["PUBLIC_URL"]


@pytest.mark.parametrize(
    "hashes",
    [None, "exit 1", "echo '$argon2id$half'; exit 1", "exit 0"],
    ids=["missing", "failed", "cut-off", "silent"],
)
def test_a_password_without_a_hash_is_not_made_up(tmp_path, hashes):
    for audience in ["shared", "control", "postgres"]:
        (tmp_path / audience).mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    if hashes:
        program = programs / "claude-code-control"
        program.write_text(f"#!/bin/sh\n{hashes}\n")
        program.chmod(0o755)
    env = {"PATH": f"{programs}:/usr/bin:/bin"}
    ended = subprocess.run(
        [ROOT / "compose/generate-secrets", tmp_path], env=env, capture_output=True, text=True
    )
    assert ended.returncode != 0 and ended.stdout == "", ended
    made = {file.name for file in (tmp_path / "control").iterdir()}
    assert made == {"database-url", "jwt-secret"}


def environment(service):
    return SERVICES[service].get("environment", {})


def test_every_setting_exists(known):
    for service in OURS:
        assert environment(service).keys() <= known
    simulators = (ROOT / "compose/simulators.env").read_text()
    aws = {"AWS_EC2_METADATA_DISABLED"}
    assert set(re.findall(r"^(\w+)=", simulators, re.MULTILINE)) <= known | aws


def test_no_secret_is_in_the_file(known):
    # A secret that could be given in a file is given in one.
    for service in OURS:
        given = environment(service)
        assert not [name for name in given if f"{name}_FILE" in known]
        for name, file in given.items():
            if name.endswith("_FILE"):
                assert file.startswith(("/secrets/shared/", "/secrets/control/")), name
    assert environment("postgres")["POSTGRES_PASSWORD_FILE"] == "/secrets/postgres/password"


def test_a_proxy_sees_only_the_secrets_that_it_needs():
    for proxy in ["proxy-1", "proxy-2"]:
        assert SERVICES[proxy]["volumes"] == ["shared-secrets:/secrets/shared:ro"]
        assert "networks" not in SERVICES[proxy]


def test_nothing_runs_with_more_rights_than_it_needs():
    for service in OURS:
        it = SERVICES[service]
        assert it["read_only"] and it["cap_drop"] == ["ALL"]
        assert it["security_opt"] == ["no-new-privileges:true"]
    published = {name for name, it in SERVICES.items() if "ports" in it}
    assert published == {"balancer"}


def test_what_stops_has_the_time_that_it_takes():
    settings = (ROOT / "proxy/src/settings.rs").read_text()
    drain = int(re.search(r'env = "PROXY_DRAIN_TIMEOUT", default_value = "(\d+)"', settings)[1])
    proxy = drain + FAREWELL + FLUSH + COLLECTOR
    needed = {"proxy-1": proxy, "proxy-2": proxy, "control": 2 * CONTROL_DRAIN + COLLECTOR}
    for service, time in needed.items():
        assert int(SERVICES[service]["stop_grace_period"].removesuffix("s")) > time


def test_nobody_speaks_to_it_over_a_network_in_clear_unless_that_is_asked_for():
    assert all(
        port.startswith(("127.0.0.1:", "${CLIENT_BIND:-127.0.0.1}:"))
        for port in SERVICES["balancer"]["ports"]
    )


def test_the_balancers_file_is_formatted_and_valid():
    assert run(TOOLS / "caddy", "fmt", CADDYFILE) == CADDYFILE.read_text()
    names = {"CLIENT_ADDRESS": "proxy.example.com", "CONSOLE_ADDRESS": "console.example.com"}
    for env in [{}, names]:
        run(TOOLS / "caddy", "validate", "--adapter", "caddyfile", "--config", CADDYFILE, env=env)


def test_the_balancer_passes_every_event_on_as_it_comes(tmp_path):
    goes_on = Queue()

    class Events(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            if self.path == "/health":
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for number in range(3):
                self.wfile.write(f"event: {number}\n\n".encode())
                # The next one comes when the client has this one.
                goes_on.get(timeout=30)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Events) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = free_port()
        env = {
            "CLIENT_ADDRESS": f"http://:{port}",
            "CONSOLE_ADDRESS": f"http://:{free_port()}",
            "PROXIES": f"localhost:{server.server_port}",
            "HOME": str(tmp_path),
        }
        caddy = [TOOLS / "caddy", "run", "--adapter", "caddyfile", "--config", CADDYFILE]
        with started(*caddy, env=env, ready=("127.0.0.1", port)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/v1/messages")
            response = connection.getresponse()
            for number in range(3):
                assert response.readline() == f"event: {number}\n".encode()
                assert response.readline() == b"\n"
                goes_on.put(None)
            assert response.read() == b""
        server.shutdown()
