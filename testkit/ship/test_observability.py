"""Dashboards and alerts: they use what the programs expose, and say what to do."""

import json
import re

import pytest
import yaml
from conftest import ROOT, TOOLS, run

ALERTS = ROOT / "observability/alerts.yaml"
ALERT_TESTS = ROOT / "testkit/ship/alerts_test.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((ROOT / "observability/dashboards").glob("*.json"))
METRIC = re.compile(r"\b((?:proxy|control)_\w+)(?:\{([^}]*)\})?")
# What Prometheus itself puts on every series.
TARGET_LABELS = {"instance", "le", "exported_job", "namespace"}


def exposed():
    """The labels of each metric, from the list that is made from the programs."""
    text = (ROOT / "docs/metrics.md").read_text()
    lines = re.findall(r"^\| `?(?:proxy|control)_\w+.*$", text, re.MULTILINE)
    assert len(lines) > 20, "docs/metrics.md is not the table that it was"
    found = {}
    for line in lines:
        name, kind, labels = [cell.strip(" `") for cell in line.split("|")[1:4]]
        for suffix in ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]:
            found[name + suffix] = set(re.findall(r"[a-z_]+", labels))
    return found


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions():
    """Everything that is asked of Prometheus, and where."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for file in DASHBOARDS:
        for panel in panels(json.loads(file.read_text())):
            for target in panel["targets"]:
                yield f"{file.name}: {panel['title']}", target["expr"]


def by_words(expression):
    """The labels that it groups by."""
    return {
        label.strip()
        for labels in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in labels.split(",")
    }


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_what_is_asked_for_exists(place, expression):
    known = exposed()
    used = METRIC.findall(re.sub(r"\bby \([^)]*\)", "", expression))
    assert used, place
    for name, _ in used:
        assert name in known, f"{place}: {name}"
    for name, matchers in used:
        labels = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", matchers))
        assert labels <= known[name] | TARGET_LABELS, f"{place}: {name} {labels}"
    of_all = set().union(*(known[name] for name, _ in used))
    assert by_words(expression) <= of_all | TARGET_LABELS, place


def test_every_expression_is_one_to_prometheus(tmp_path):
    rules = [
        {"record": f"check:number{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    run(TOOLS / "promtool", "check", "rules", file)


def test_alerts_fire_when_they_should_and_not_otherwise():
    run(TOOLS / "promtool", "check", "rules", ALERTS)
    run(TOOLS / "promtool", "test", "rules", ALERT_TESTS)


def test_every_alert_has_a_test_in_which_it_fires():
    tests = yaml.safe_load(ALERT_TESTS.read_text())["tests"]
    asked = [test for it in tests for test in it["alert_rule_test"]]
    fires = {it["alertname"] for it in asked if it.get("exp_alerts")}
    assert fires == {rule["alert"] for rule in RULES}


def test_no_alert_adds_up_two_gateways():
    for rule in RULES:
        sums = re.findall(r"\b(?:sum|max|group|count)\b(?! by \(namespace\b)", rule["expr"])
        assert not sums, rule["alert"]


def test_every_alert_says_what_to_do():
    for rule in RULES:
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", rule["alert"]).lower()
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{kebab}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_runbook_has_a_section_for_every_alert():
    runbook = (ROOT / "docs/runbook.md").read_text()
    headings = re.findall(r"^#+ (.*)$", runbook, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", it).strip().lower().replace(" ", "-") for it in headings}
    wanted = {rule["annotations"]["runbook"].partition("#")[2] for rule in RULES}
    assert wanted <= anchors, wanted - anchors


def test_bounds_that_alerts_and_dashboards_name_are_those_of_the_programs():
    store = (ROOT / "control/src/store.rs").read_text()
    assert "const MAX_CONNECTIONS: usize = 16;" in store
    outbox = (ROOT / "proxy/src/usage/outbox.rs").read_text()
    assert "const CAPACITY: usize = 100_000;" in outbox


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_grafana_can_take_a_dashboard(file):
    dashboard = json.loads(file.read_text())
    assert dashboard["uid"] == f"claude-code-proxy-{file.stem}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(dashboard):
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        # A legend names only what its series has.
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = by_words(target["expr"])
            assert legend <= (grouped or {"instance"}), panel["title"]


def test_the_dashboards_are_all_there():
    assert [file.stem for file in DASHBOARDS] == ["failover", "fleet", "traffic", "usage"]
