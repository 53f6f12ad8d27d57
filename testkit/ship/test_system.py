"""What compose.yaml describes, started without an engine: the same programs with the
same commands, settings and secrets, each service on an address of its own."""

import base64
import json
import os
import random
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack

import pytest
import yaml
from conftest import PROGRAMS, ROOT, TOOLS, run, started

pytestmark = pytest.mark.programs

SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
PROXIES = ["proxy-1", "proxy-2"]


def generate(folder):
    env = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    return run(ROOT / "compose/generate-secrets", folder, env=env)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The folder that the first start fills, and what that says."""
    folder = tmp_path_factory.mktemp("secrets")
    for audience in ["shared", "control", "postgres"]:
        (folder / audience).mkdir()
    return folder, generate(folder)


def test_secrets_are_made_up_once(secrets):
    folder, said = secrets
    assert "The console's user is admin, with the password " in said

    def read():
        return {file: file.read_text() for file in folder.glob("*/*")}

    made = read()
    assert generate(folder) == "" and read() == made
    assert len(made) == 7 and len(set(made.values())) == 7
    modes = {file.name: file.stat().st_mode & 0o777 for file in made}
    assert {name for name, mode in modes.items() if mode != 0o400} == {"password"}


class Machine:
    """Each service has an address of its own, like a container, and its usual ports."""

    def __init__(self, folder):
        self.folder = folder
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"
        names = ["control", *PROXIES, "simulator", "balancer", "prometheus"]
        self.addresses = {name: f"{network}.{number}" for number, name in enumerate(names, 2)}

    def log(self, service):
        return self.folder / f"{service}.log"

    def url(self, service, port):
        return f"http://{self.addresses[service]}:{port}"

    def here(self, text):
        """A text of compose.yaml with our addresses and folders."""
        text = text.replace("/secrets/", f"{self.folder}/secrets/").replace("0.0.0.0", "simulator")
        names = "|".join(self.addresses)
        return re.sub(rf"\b({names})(?=:\d)", lambda it: self.addresses[it[1]], text)

    def environment(self, service):
        simulators = re.findall(r"^(\w+)=(.*)$", (ROOT / "compose/simulators.env").read_text(), re.M)
        given = dict(simulators) | SERVICES[service].get("environment", {})
        address = self.addresses.get(service, "")
        listeners = {
            "PROXY_ADMIN_ADDR": f"{address}:8000",
            "PROXY_GRPC_ADDR": f"{address}:8001",
            "PROXY_CONTROL_OPS_ADDR": f"{address}:8002",
            "PROXY_LISTEN_ADDR": f"{address}:8080",
            "PROXY_OPS_ADDR": f"{address}:8081",
        }
        public = {"PROXY_PUBLIC_URL": self.url("balancer", 8080), "PROXY_DRAIN_DELAY": "3"}
        return {name: self.here(str(it)) for name, it in given.items()} | listeners | public

    def start(self, service, program, port, default=()):
        arguments = [self.here(it) for it in SERVICES[service].get("command", default)]
        log = self.log(service).open("a")
        return started(
            PROGRAMS / program,
            *arguments,
            env=self.environment(service),
            ready=(self.addresses[service], port),
            stdout=log,
            stderr=log,
        )

    def balancer(self):
        env = {
            "CLIENT_ADDRESS": self.url("balancer", 8080),
            "CONSOLE_ADDRESS": self.url("balancer", 8000),
            "PROXIES": " ".join(f"{self.addresses[proxy]}:8080" for proxy in PROXIES),
            "CONTROL": f"{self.addresses['control']}:8000",
            "HOME": str(self.folder),
        }
        # Inside of compose it has an address for itself.
        text = (ROOT / "compose/Caddyfile").read_text()
        file = self.folder / "Caddyfile"
        file.write_text(text.replace("admin off", f"admin off\n\tdefault_bind {self.addresses['balancer']}"))
        caddy = [TOOLS / "caddy", "run", "--adapter", "caddyfile", "--config", file]
        log = self.log("balancer").open("w")
        return started(*caddy, env=env, ready=(self.addresses["balancer"], 8080), stdout=log, stderr=log)

    def prometheus(self):
        targets = {
            "proxy": [f"{self.addresses[proxy]}:8081" for proxy in PROXIES],
            "control": [f"{self.addresses['control']}:8002"],
        }
        scrapes = [{"job_name": name, "static_configs": [{"targets": it}]} for name, it in targets.items()]
        settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes}
        file = self.folder / "prometheus.yaml"
        file.write_text(json.dumps(settings | {"rule_files": [str(ROOT / "observability/alerts.yaml")]}))
        data, address = self.folder / "prometheus", self.addresses["prometheus"]
        return started(
            TOOLS / "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={address}:9090",
            env={},
            ready=(address, 9090),
            stderr=self.log("prometheus").open("w"),
        )


def call(url, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, {"content-type": "application/json"} | named)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def eventually(question, what):
    until = time.monotonic() + 60
    while True:
        try:
            if answer := question():
                return answer
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
        assert time.monotonic() < until, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def machine(tmp_path_factory, secrets):
    made, _ = secrets
    folder = tmp_path_factory.mktemp("machine")
    (folder / "secrets").symlink_to(made)
    # Postgres is the one of all tests, and not the one that the secret is for.
    url = made / "control/database-url"
    url.unlink()
    url.write_text(os.environ["TEST_POSTGRES_URL"])
    machine = Machine(folder)
    run(PROGRAMS / "claude-code-control", *SERVICES["migrate"]["command"], env=machine.environment("migrate"))
    with ExitStack() as services:
        services.enter_context(machine.start("simulator", "simulator", 8090))
        machine.start_control = lambda: services.enter_context(
            machine.start("control", "claude-code-control", 8002, ["serve"])
        )
        machine.control = machine.start_control()
        machine.proxies = [
            services.enter_context(machine.start(proxy, "claude-code-proxy", 8081))
            for proxy in PROXIES
        ]
        services.enter_context(machine.balancer())
        for service, port in [("control", 8002), *((proxy, 8081) for proxy in PROXIES)]:
            ready = machine.url(service, port) + "/readyz"
            eventually(lambda ready=ready: urllib.request.urlopen(ready).status == 200, f"{service} is not ready")
        yield machine


@pytest.fixture(scope="module")
def new_developer(machine, secrets):
    """Makes what the console gives a developer, by the password that the start said."""
    console = machine.url("balancer", 8000)
    basic = base64.b64encode(f"admin:{secrets[1].split()[-1]}".encode()).decode()
    token = call(f"{console}/admin/auth/login", {}, authorization=f"Basic {basic}")["access_token"]
    bearer = {"authorization": f"Bearer {token}"}

    def make():
        user = call(f"{console}/admin/users", {"name": "Developer"}, **bearer)["id"]
        key = call(f"{console}/admin/users/{user}/access-keys", {}, **bearer)["raw_key"]
        return f"{machine.url('balancer', 8080)}/ak/{key}"

    return make


@pytest.fixture(scope="module")
def base_url(new_developer):
    return new_developer()


def ask(base_url):
    question = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    headers = {"x_api_key": "sk-ant-api03-developer", "anthropic_version": "2023-06-01"}
    return call(f"{base_url}/v1/messages", question, **headers)


def answered(base_url):
    """A key that is just made may not be with the proxies yet."""
    try:
        return ask(base_url)
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return None
        raise


def test_a_developer_is_answered_through_the_balancer(base_url):
    answer = eventually(lambda: answered(base_url), "the key does not get to the proxies")
    assert answer["type"] == "message" and answer["content"]


def test_the_health_checks_of_the_images_ask_who_runs(machine):
    dockerfile = (ROOT / "Dockerfile").read_text()
    checks = re.findall(r'    CMD \["/usr/local/bin/([\w-]+)", "([\w-]+)"\]', dockerfile)
    assert len(checks) == 2
    for program, argument in checks:
        service = {"claude-code-proxy": "proxy-1", "claude-code-control": "control"}[program]
        env = machine.environment(service)
        run(PROGRAMS / program, argument, env=env)
        nobody = env | {"PROXY_OPS_ADDR": "127.0.0.1:1", "PROXY_CONTROL_OPS_ADDR": "127.0.0.1:1"}
        assert subprocess.run([PROGRAMS / program, argument], env=nobody).returncode == 1


def test_prometheus_reads_every_process_and_answers_every_dashboard(machine, base_url):
    with machine.prometheus():
        prometheus = machine.url("prometheus", 9090)

        def query(expression):
            encoded = urllib.parse.urlencode({"query": expression})
            answer = call(f"{prometheus}/api/v1/query?{encoded}")
            assert answer["status"] == "success", answer
            return answer["data"]["result"]

        eventually(lambda: len(query("up == 1")) == 3, "a process is not scraped")
        counted = 'sum(proxy_requests_total{endpoint="messages", provider="plan"}) > 0'
        eventually(lambda: query(counted), "the request is not counted")
        for file in sorted((ROOT / "observability/dashboards").glob("*.json")):
            for panel in json.loads(file.read_text())["panels"]:
                for target in panel.get("targets", []):
                    expression = target["expr"].replace("$__rate_interval", "1m")
                    query(expression.replace("$instance", ".*"))
        for gauge in ["proxy_active_requests", "proxy_index_age_seconds", "control_head_revision"]:
            assert query(gauge), gauge
        groups = call(f"{prometheus}/api/v1/rules")["data"]["groups"]
        assert len(groups[0]["rules"]) == len(
            yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())["groups"][0]["rules"]
        )


def test_after_a_restore_the_proxies_have_what_the_backup_has(machine, base_url, new_developer):
    eventually(lambda: answered(base_url), "the key does not get to the proxies")
    database, dump = os.environ["TEST_POSTGRES_URL"], machine.folder / "gateway.dump"
    run("pg_dump", "--format", "custom", "--file", dump, database)
    later = new_developer()
    eventually(lambda: answered(later), "the key does not get to the proxies")

    machine.control.terminate()
    machine.control.wait()
    empty = database.rpartition("/")[0] + "/restored"
    run("psql", "--command", "create database restored", database)
    run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", empty, dump)
    (machine.folder / "secrets/control/database-url").write_text(empty)
    for command in ["migrate", "new-epoch"]:
        run(PROGRAMS / "claude-code-control", command, env=machine.environment("migrate"))
    machine.control = machine.start_control()

    eventually(lambda: not answered(later), "the proxies keep a key that the backup has not")
    assert ask(base_url)["type"] == "message"


def test_no_request_fails_while_a_proxy_is_replaced(machine, base_url):
    eventually(lambda: answered(base_url), "the key does not get to the proxies")
    replaced = machine.proxies[0]
    replaced.terminate()
    # While it stops and when it is gone.
    while replaced.poll() is None:
        assert ask(base_url)["type"] == "message"
    assert replaced.returncode == 0
    for _ in range(10):
        assert ask(base_url)["type"] == "message"


def test_no_access_key_is_in_a_log_whatever_happens(machine, base_url):
    # Of the last proxy nothing is left to answer.
    for proxy in machine.proxies:
        proxy.kill()
        proxy.wait()
    with pytest.raises(urllib.error.HTTPError) as failed:
        ask(base_url)
    assert failed.value.code in {502, 503}
    key = base_url.rpartition("/")[2]
    logs = list(machine.folder.glob("*.log"))
    assert machine.log("balancer") in logs and machine.log("proxy-1") in logs
    assert not [log.name for log in logs if key in log.read_text()]
