"""The chart: every configuration renders to what Kubernetes takes, nothing is on
that was not asked for, and what was asked for is there."""

import copy
import json
import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from conftest import COLLECTOR, CONTROL_DRAIN, FAREWELL, FLUSH, ROOT, TOOLS, run

CHART = ROOT / "charts/claude-code-proxy"
CI = CHART / "ci"
HA = CHART / "values-ha.yaml"
DEFAULT = CI / "default.yaml"
CONFIGURATIONS = {
    "default": [DEFAULT],
    "ha": [HA, DEFAULT],
    "everything": [HA, CI / "everything.yaml"],
    "proxy-only": [CI / "proxy-only.yaml"],
    "control-only": [CI / "control-only.yaml"],
    "aws": [CI / "aws.yaml"],
}
# The oldest that the chart takes and the newest that there are schemas for.
KUBERNETES = ["1.27.0", kubernetes_validate.latest_version()]
# Of others than Kubernetes.
FOREIGN = {"ExternalSecret", "HTTPRoute", "PrometheusRule", "ServiceMonitor"}


def helm(*arguments):
    return [TOOLS / "helm", *arguments]


def values(files):
    return [part for file in files for part in ("--values", str(file))]


def render(files, *more, kubernetes=KUBERNETES[-1]):
    """Everything that the chart makes, by kind and name."""
    given = [*values(files), "--namespace", "gateway", "--kube-version", kubernetes, *more]
    text = run(*helm("template", "gw", CHART, *given))
    documents = [it for it in yaml.safe_load_all(text) if it]
    found = {(it["kind"], it["metadata"]["name"]): it for it in documents}
    assert len(found) == len(documents), "two of one name"
    return found


@pytest.fixture(scope="module")
def rendered():
    return {name: render(files) for name, files in CONFIGURATIONS.items()}


def kinds(objects):
    return {kind for kind, _ in objects}


def of(objects, kind, name):
    return objects[kind, f"gw-claude-code-proxy-{name}"]


def pods(objects):
    """The pods of deployments and jobs, by component."""
    workloads = [it for it in objects.values() if it["kind"] in {"Deployment", "Job"}]
    return {
        it["metadata"]["labels"]["app.kubernetes.io/component"]: it["spec"]["template"]
        for it in workloads
    }


def container(objects, component):
    return pods(objects)[component]["spec"]["containers"][0]


def environment(objects, component):
    return {it["name"]: it for it in container(objects, component)["env"]}


def from_secret(objects, component):
    env = environment(objects, component)
    return {name for name, it in env.items() if "secretKeyRef" in it.get("valueFrom", {})}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_helm_finds_nothing_to_complain_about(name):
    run(*helm("lint", "--strict", CHART, *values(CONFIGURATIONS[name])))


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_kubernetes_takes_it(name, kubernetes):
    objects = render(CONFIGURATIONS[name], kubernetes=kubernetes)
    for it in objects.values():
        if it["kind"] not in FOREIGN:
            kubernetes_validate.validate(it, kubernetes, strict=True)


def validate_foreign(objects):
    script = ROOT / "testkit/ship/validate-foreign.mjs"
    return subprocess.run(["node", script], input=json.dumps(objects), capture_output=True, text=True)


def test_other_projects_take_what_is_theirs(rendered):
    theirs = [it for it in rendered["everything"].values() if it["kind"] in FOREIGN]
    assert {it["kind"] for it in theirs} == FOREIGN
    ended = validate_foreign(theirs)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_wrong_object_of_other_projects_would_be_refused(rendered):
    wrong = copy.deepcopy(rendered["everything"]["ServiceMonitor", "gw-claude-code-proxy"])
    del wrong["spec"]["endpoints"]
    ended = validate_foreign([wrong])
    assert ended.returncode == 1 and "endpoints" in ended.stdout, ended.stderr


def test_a_wrong_manifest_would_be_refused(rendered):
    wrong = copy.deepcopy(of(rendered["default"], "Deployment", "proxy"))
    wrong["spec"]["replicas"] = "2"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_nothing_is_on_that_was_not_asked_for(rendered):
    # A pod is replaced because of what is in it, and not of the chart's version.
    labels = pods(rendered["default"])["proxy"]["metadata"]["labels"]
    assert labels.keys() == {f"app.kubernetes.io/{it}" for it in ["name", "instance", "component"]}
    assert kinds(rendered["default"]) == {"Deployment", "Job", "Service", "ServiceAccount"}
    spec = pods(rendered["default"])["proxy"]["spec"]
    assert "topologySpreadConstraints" not in spec and "volumes" not in spec
    services = [it["spec"]["type"] for (kind, _), it in rendered["default"].items() if kind == "Service"]
    assert services == ["ClusterIP"] * 3


def test_what_was_asked_for_is_there(rendered):
    assert kinds(rendered["everything"]) - kinds(rendered["default"]) == FOREIGN | {
        "ConfigMap",
        "HorizontalPodAutoscaler",
        "Ingress",
        "NetworkPolicy",
        "PodDisruptionBudget",
    }


def test_each_part_can_be_left_out(rendered):
    assert pods(rendered["proxy-only"]).keys() == {"proxy"}
    assert pods(rendered["control-only"]).keys() == {"control", "migration"}
    url = environment(rendered["proxy-only"], "proxy")["PROXY_CONTROL_URL"]
    assert url["value"] == "https://control.example.com:8001"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_pod_has_the_least_rights(rendered, name):
    for pod in pods(rendered[name]).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for it in spec["containers"]:
            assert it["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert it["resources"]["limits"]["memory"]


@pytest.mark.parametrize("component", ["proxy", "control"])
def test_kubelet_asks_the_operators_port(rendered, component):
    it = container(rendered["default"], component)
    assert {port["name"] for port in it["ports"]} >= {"ops"}
    paths = {probe: it[probe]["httpGet"]["path"] for probe in it if probe.endswith("Probe")}
    assert paths == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {it[probe]["httpGet"]["port"] for probe in paths} == {"ops"}


def test_a_pod_outlives_its_drain():
    for seconds in ["110", "600"]:
        objects = render([DEFAULT], "--set", f"proxy.drainTimeoutSeconds={seconds}")
        assert environment(objects, "proxy")["PROXY_DRAIN_TIMEOUT"]["value"] == seconds
        grace = pods(objects)["proxy"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > int(seconds) + FAREWELL + FLUSH + COLLECTOR
    control = pods(objects)["control"]["spec"]
    hook = control["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = hook + 2 * CONTROL_DRAIN + COLLECTOR
    assert control["terminationGracePeriodSeconds"] > needed


def test_control_waits_until_nobody_is_sent_to_it_where_kubernetes_can():
    for version, can in [("1.29.0", False), ("1.30.0", True)]:
        it = container(render([DEFAULT], kubernetes=version), "control")
        assert ("lifecycle" in it) == can


def test_each_process_gets_only_its_own_secrets(rendered):
    shared = {"PROXY_KEY_HASHER_SECRET", "PROXY_SYNC_TOKEN", "PROXY_LOCAL_ENCRYPTION_KEY"}
    default = rendered["default"]
    assert from_secret(default, "proxy") == shared | {"PROXY_PLAN_API_KEY"}
    assert from_secret(default, "migration") == {"PROXY_DATABASE_URL"}
    assert from_secret(default, "control") == shared | {
        "PROXY_DATABASE_URL",
        "PROXY_JWT_SECRET",
        "PROXY_ADMIN_USERNAME",
        "PROXY_ADMIN_PASSWORD_HASH",
        "PROXY_BUDGET_WEBHOOK_SECRET",
    }


def test_what_an_arn_names_is_not_looked_for_in_the_secret(rendered):
    # Nor a key to seal with, when KMS has one.
    optional = {"PROXY_PLAN_API_KEY", "PROXY_BUDGET_WEBHOOK_SECRET"}
    for component in ["proxy", "control", "migration"]:
        assert from_secret(rendered["aws"], component) <= optional
        env = environment(rendered["aws"], component)
        for name in from_secret(rendered["aws"], component):
            assert env[name]["valueFrom"]["secretKeyRef"]["optional"] is True


def test_what_a_file_has_is_not_looked_for_in_the_secret():
    files = ["PROXY_KEY_HASHER_SECRET", "PROXY_SYNC_TOKEN", "PROXY_LOCAL_ENCRYPTION_KEY"]
    given = [part for it in files for part in ("--set", f"settings.{it}_FILE=/etc/own/{it}")]
    given += ["--set", "control.settings.PROXY_DATABASE_URL_FILE=/etc/own/database"]
    objects = render([DEFAULT], *given)
    for component in ["proxy", "control"]:
        assert environment(objects, component)[f"{files[0]}_FILE"]["value"] == f"/etc/own/{files[0]}"
        assert not from_secret(objects, component) & {*files, "PROXY_DATABASE_URL"}
    assert from_secret(objects, "migration") == set()
    assert "PROXY_JWT_SECRET" in from_secret(objects, "control")


def test_settings_may_be_all_that_there_are_but_what_the_chart_sets_and_secrets(known):
    definitions = json.loads((CHART / "values.schema.json").read_text())["definitions"]
    taken, allowed = ({*definitions[it]["enum"]} for it in ["taken", "known"])
    assert taken & allowed == set()
    assert taken | allowed == {it for it in known if it.startswith("PROXY_")}
    secrets = {it.removesuffix("_FILE") for it in known if it.endswith("_FILE")}
    assert secrets and secrets <= taken


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_setting_exists(rendered, name, known):
    for component in pods(rendered[name]):
        ours = {it for it in environment(rendered[name], component) if it.startswith("PROXY_")}
        assert ours <= known


def test_an_image_is_named_by_its_tag_or_exactly():
    def images(*given):
        objects = render([DEFAULT], *(part for it in given for part in ("--set", it)))
        return {name: container(objects, name)["image"] for name in pods(objects)}

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert images()["proxy"] == f"claude-code-proxy:{version}"
    tagged = ["image.repository=registry.example.com/gateway", "image.tag=1.2.3"]
    control = "registry.example.com/gateway/claude-code-control"
    assert images(*tagged)["control"] == f"{control}:1.2.3"
    digest = "sha256:" + "5" * 64
    # The other program keeps its tag.
    assert images(*tagged, f"image.digest.control={digest}") == {
        "proxy": "registry.example.com/gateway/claude-code-proxy:1.2.3",
        "control": f"{control}@{digest}",
        "migration": f"{control}@{digest}",
    }


def test_numbers_reach_the_programs_as_they_were_written(rendered):
    env = environment(rendered["everything"], "proxy")
    assert env["PROXY_MAX_BODY_BYTES"]["value"] == "33554432"


def test_the_migration_comes_before_an_upgrade(rendered):
    job = of(rendered["default"], "Job", "migration")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert container(rendered["default"], "migration")["args"] == ["migrate"]


def test_a_restored_database_is_told_by_a_job_like_that_of_the_migration():
    guide = (ROOT / "docs/kubernetes.md").read_text()
    before, after = re.search(r"sed 's/(args: .*)/(args: .*)/'", guide).groups()
    template = ["--show-only", "templates/migration.yaml", "--kube-version", KUBERNETES[-1]]
    text = run(*helm("template", "gateway", CHART, *values([DEFAULT]), *template))
    job = yaml.safe_load(re.sub(before, after, text))
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["new-epoch"]
    name = job["metadata"]["name"]
    assert f"wait job/{name} " in guide and f"delete job {name}\n" in guide
    # Control is not told by its own pods: they would serve before they hear of it.
    assert "-- claude-code-control new-epoch" not in guide


def test_proxies_scale_on_streams_and_cpu(rendered):
    scaler = of(rendered["ha"], "HorizontalPodAutoscaler", "proxy")["spec"]
    named = [it["pods"]["metric"]["name"] for it in scaler["metrics"] if it["type"] == "Pods"]
    assert named == ["proxy_active_requests"]
    assert [it["type"] for it in scaler["metrics"]] == ["Resource", "Pods"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 50)
    # It would be set back at every upgrade.
    assert "replicas" not in of(rendered["ha"], "Deployment", "proxy")["spec"]
    cpu_only = render([HA, DEFAULT], "--set", "proxy.autoscaling.activeRequests=0")
    scaler = of(cpu_only, "HorizontalPodAutoscaler", "proxy")["spec"]
    assert [it["type"] for it in scaler["metrics"]] == ["Resource"]


@pytest.mark.parametrize("component", ["proxy", "control"])
def test_high_availability_survives_a_pod_a_node_and_a_zone(rendered, component):
    objects = rendered["ha"]
    scaler = objects.get(("HorizontalPodAutoscaler", f"gw-claude-code-proxy-{component}"))
    deployment = of(objects, "Deployment", component)["spec"]
    replicas = scaler["spec"]["minReplicas"] if scaler else deployment["replicas"]
    budget = of(objects, "PodDisruptionBudget", component)["spec"]
    assert 0 < budget["maxUnavailable"] < replicas
    spread = pods(objects)[component]["spec"]["topologySpreadConstraints"]
    keys = [it["topologyKey"] for it in spread]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {it["maxSkew"] for it in spread} == {1}


def test_a_secret_from_outside_is_the_one_that_the_pods_read(rendered):
    objects = rendered["everything"]
    [(_, external)] = [it for it in objects.items() if it[0][0] == "ExternalSecret"]
    assert external["spec"]["secretStoreRef"] == {"kind": "ClusterSecretStore", "name": "vault"}
    made = {it["secretKey"]: it["remoteRef"] for it in external["spec"]["data"]}
    given = yaml.safe_load((CI / "everything.yaml").read_text())["externalSecret"]["data"]
    assert made == given
    for component in ["proxy", "control", "migration"]:
        for name in from_secret(objects, component):
            read = environment(objects, component)[name]["valueFrom"]["secretKeyRef"]
            assert (read["name"], read["key"]) == (external["spec"]["target"]["name"], name)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_whoever_selects_pods_finds_some(rendered, name):
    labels = [pod["metadata"]["labels"].items() for pod in pods(rendered[name]).values()]

    def selectors(it):
        spec = it["spec"]
        if it["kind"] == "Service":
            yield spec["selector"]
        if it["kind"] in {"Deployment", "PodDisruptionBudget"}:
            yield spec["selector"]["matchLabels"]
        if it["kind"] == "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]
        if it["kind"] == "Deployment":
            for spread in spec["template"]["spec"].get("topologySpreadConstraints", []):
                yield spread["labelSelector"]["matchLabels"]

    for it in rendered[name].values():
        if "spec" in it:
            for selector in selectors(it):
                assert sum(selector.items() <= it for it in labels) == 1, selector


def test_a_network_policy_lets_through_what_is_needed_and_no_more(rendered):
    objects = rendered["everything"]

    def ports(rules):
        return [[port["port"] for port in rule["ports"]] for rule in rules]

    proxy = of(objects, "NetworkPolicy", "proxy")["spec"]
    assert ports(proxy["ingress"]) == [["http"], ["ops"]]
    # A variable of the proxies only names the one with 3128.
    assert ports(proxy["egress"]) == [[53, 53], [3128, 4317, 443, 80], [8001]]
    control = of(objects, "NetworkPolicy", "control")["spec"]
    assert ports(control["ingress"]) == [["admin"], ["grpc"], ["ops"]]
    assert ports(control["egress"]) == [[53, 53], [4317, 443, 80], [5432]]
    migration = of(objects, "NetworkPolicy", "migration")["spec"]
    assert "ingress" not in migration and migration["policyTypes"] == ["Ingress", "Egress"]
    assert ports(migration["egress"]) == ports(control["egress"])
    # Metrics are nobody's, unless somebody is named.
    quiet = of(rendered["proxy-only"], "NetworkPolicy", "proxy")["spec"]
    assert ports(quiet["ingress"]) == [["http"]]
    for rule in control["ingress"]:
        assert rule["from"]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://elsewhere:9443", 9443),
        ("https://elsewhere", 443),
        ("http://elsewhere/path:1", 80),
        ("http://[fd00::1]:8001", 8001),
    ],
)
def test_a_network_policy_lets_through_to_where_control_is(url, port):
    given = ["--set", "networkPolicy.enabled=true", "--set", f"proxy.controlUrl={url}"]
    # Also when this release has a control, which is another one then.
    for files in [[DEFAULT], [CI / "proxy-only.yaml"]]:
        rule = of(render(files, *given), "NetworkPolicy", "proxy")["spec"]["egress"][-1]
        assert rule == {"ports": [{"port": port}]}


def test_a_network_policy_opens_the_ports_of_urls_that_a_process_asks():
    asked = {
        "settings.PROXY_PUBLIC_URL": "http://nobody-goes-there:1",
        "settings.PROXY_TIMEZONE": "UTC",
        "control.settings.PROXY_BUDGET_WEBHOOK_URL": "https://chat:8443/alerts",
        "proxy.settings.PROXY_PLAN_API_URL": "http://simulator",
    }
    given = [part for it in asked.items() for part in ("--set", "=".join(it))]
    objects = render([DEFAULT], "--set", "networkPolicy.enabled=true", *given)
    found = {
        name: {it["port"] for it in of(objects, "NetworkPolicy", name)["spec"]["egress"][1]["ports"]}
        for name in ["proxy", "control"]
    }
    assert found == {"proxy": {443, 80}, "control": {443, 8443}}


def test_routes_lead_clients_to_the_proxies_and_everything_else_to_control(rendered):
    expected = {"proxy": ["/ak", "/v1"], "control": ["/"]}
    for name, paths in expected.items():
        ingress = of(rendered["everything"], "Ingress", name)["spec"]["rules"][0]["http"]["paths"]
        assert [it["path"] for it in ingress] == paths
        service = of(rendered["everything"], "Service", name)["spec"]
        ports = {it["name"]: it["port"] for it in service["ports"]}
        for it in ingress:
            backend = it["backend"]["service"]
            assert backend["name"].endswith(f"-{name}") and backend["port"]["name"] in ports
        rule = of(rendered["everything"], "HTTPRoute", name)["spec"]["rules"][0]
        assert [it["path"]["value"] for it in rule["matches"]] == paths
        assert rule["backendRefs"][0]["port"] in ports.values()


def test_tls_between_proxies_and_control_is_mutual_when_both_have_a_certificate():
    def files(objects, component):
        env = environment(objects, component)
        return {name[15:]: it["value"] for name, it in env.items() if name.startswith("PROXY_SYNC_TLS")}

    one = render([DEFAULT], "--set", "sync.tls.controlSecret=control-certificate")
    assert files(one, "control").keys() == {"CERT", "KEY"}
    assert files(one, "proxy").keys() == {"CA"}
    assert environment(one, "proxy")["PROXY_CONTROL_URL"]["value"].startswith("https://")
    # Of control's Secret, a proxy sees the authority only.
    volume = pods(one)["proxy"]["spec"]["volumes"][0]["secret"]
    assert [it["key"] for it in volume["items"]] == ["ca.crt"]
    both = render([DEFAULT], "--set", "sync.tls.controlSecret=a,sync.tls.proxySecret=b")
    for component in ["control", "proxy"]:
        assert files(both, component).keys() == {"CERT", "KEY", "CA"}
    assert pods(both)["proxy"]["spec"]["volumes"][0]["secret"] == {"secretName": "b"}


def test_alerts_and_dashboards_are_those_of_the_repository(rendered):
    rules = rendered["everything"]["PrometheusRule", "gw-claude-code-proxy"]["spec"]
    assert rules == yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())
    dashboards = {
        name: text
        for (kind, _), it in rendered["everything"].items()
        if kind == "ConfigMap"
        for name, text in it["data"].items()
    }
    files = sorted((ROOT / "observability/dashboards").glob("*.json"))
    assert dashboards == {file.name: file.read_text() for file in files} and files


def test_metrics_are_scraped_where_a_service_has_them(rendered):
    monitor = rendered["everything"]["ServiceMonitor", "gw-claude-code-proxy"]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [it for (kind, _), it in rendered["everything"].items() if kind == "Service"]
    scraped = {
        it["spec"]["selector"]["app.kubernetes.io/component"]: port["port"]
        for it in services
        if wanted <= it["metadata"]["labels"].items()
        for port in it["spec"]["ports"]
        if port["name"] == monitor["endpoints"][0]["port"]
    }
    assert scraped == {"proxy": 8081, "control": 8002}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("proxy.replica=3", "Additional property replica"),
        ("proxy.replicas=0", "proxy.replicas"),
        ("image.digest.proxy=1.2.3", "image.digest.proxy"),
        ("image.digest.migration=sha256:0", "Additional property migration"),
        ("proxy.settings.proxy_timezone=UTC", "proxy_timezone"),
        ("settings.PROXY_JWT_SECRET=a-secret-in-a-values-file", "PROXY_JWT_SECRET"),
        ("settings.PROXY_DRAIN_TIMEOUT=600", "PROXY_DRAIN_TIMEOUT"),
        ("proxy.settings.PROXY_MAX_BODY_BYTES=33554432", "PROXY_MAX_BODY_BYTES"),
        ("proxy.ingress.enabled=true", "proxy.ingress.hosts"),
        ("control.httpRoute.enabled=true", "control.httpRoute.parentRefs"),
        ("externalSecret.enabled=true", "externalSecret.data"),
        ("control.enabled=false", "proxy.controlUrl: must be set"),
        ("sync.tls.proxySecret=a", "sync.tls.controlSecret: must be set"),
        ("settings.PROXY_TIMEZON=UTC", "PROXY_TIMEZON"),
        ("settings.AWS_SECRET_ACCESS_KEY=in-clear", "AWS_SECRET_ACCESS_KEY"),
        ("control.settings.AWS_SESSION_TOKEN=in-clear", "AWS_SESSION_TOKEN"),
        ("proxy.settings.AWS_BEARER_TOKEN_BEDROCK=in-clear", "AWS_BEARER_TOKEN_BEDROCK"),
        ("settings.OTEL_EXPORTER_OTLP_HEADERS=in-clear", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("proxy.extraEnv[0].name=PROXY_SYNC_TOKEN,proxy.extraEnv[0].value=in-clear", "extraEnv.0: valueFrom is required"),
        ("control.extraEnv[0].name=AWS_SECRET_ACCESS_KEY,control.extraEnv[0].value=a", "extraEnv.0: valueFrom is required"),
        ("control.extraEnv[0].value=nameless", "control.extraEnv.0: name is required"),
        ("fullnameOverride=Foo_Bar", "fullnameOverride"),
        ("nameOverride=1st", "nameOverride"),
        ("serviceMonitor.interval=foo", "serviceMonitor.interval"),
        ("externalSecret.refreshInterval=daily", "externalSecret.refreshInterval"),
        ("proxy.enabled=false,control.enabled=false", "one of them must be true"),
        ("secret.name=", "secret.name: must be set"),
        ("proxy.autoscaling.enabled=true,proxy.autoscaling.maxReplicas=1", "minReplicas: must not be"),
        ("proxy.autoscaling.enabled=true,proxy.resources.requests.cpu=null", "requests.cpu: must be set"),
    ],
)
def test_wrong_values_are_refused_with_their_name(given, said):
    more = ["--kube-version", KUBERNETES[-1], "--set", given]
    command = helm("template", "gw", CHART, *values([DEFAULT]), *more)
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode != 0
    assert said in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    "given",
    [
        "proxy.extraEnv[0].name=AWS_SECRET_ACCESS_KEY,proxy.extraEnv[0].valueFrom.secretKeyRef.name=aws",
        "proxy.extraEnv[0].name=HTTPS_PROXY,proxy.extraEnv[0].value=http://egress:3128",
        "settings.AWS_REGION=eu-west-1",
        "fullnameOverride=foo-bar",
        "serviceMonitor.interval=1m30s",
        "proxy.autoscaling.enabled=true,proxy.resources.requests.cpu=null,proxy.resources.limits.cpu=1",
    ],
)
def test_what_resembles_wrong_values_is_taken(given):
    assert pods(render([DEFAULT], "--set", given)).keys() == {"proxy", "control", "migration"}


def test_names_fit_whatever_the_release_is_called():
    name = "a" * 53
    text = run(*helm("template", name, CHART, *values([DEFAULT]), "--kube-version", KUBERNETES[-1]))
    names = re.findall(r"^  name: (\S+)$", text, re.MULTILINE)
    assert names and all(len(it) <= 63 for it in names), names
