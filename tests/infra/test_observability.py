"""Alarms that reach somebody, each with a page, on metrics that somebody publishes."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from infra.observability.alarm import Alarm
from infra.observability.alarms import alarms
from infra.observability.watchers import TIMEOUT_SECONDS
from infra.settings import Deployment
from tests.infra.conftest import ACCOUNT, ROOT, Template, Templates, resources
from tests.infra.observability_kit import NAME, TOPIC, deployment, load, rollout_line

OF_QUEUE_TARGETS = {
    "forwarder-errors",
    "forwarder-refusals",
    "forwarder-throttles",
    "dead-letters",
    "oldest-message",
    "work-waiting",
}
OF_ALL_TARGETS = {
    "rollouts-failed",
    "rewards-imputed",
    "token-cap",
    "turns-exhausted",
    "text-tool-calls",
    "reward-score-disagreement",
    "reward-variance-gone",
    "job-failed",
    "job-stopped",
    "job-stalled",
}
Synthesized = Callable[[str, str], Templates]


def table(settings: Deployment) -> dict[str, Alarm]:
    return {alarm.id: alarm for alarm in alarms(settings)}


def of_template(template: Template) -> dict[str, dict[str, Any]]:
    """Properties of the synthesized alarms, by id."""
    found = [alarm["Properties"] for alarm in resources(template, "AWS::CloudWatch::Alarm")]
    return {alarm["AlarmName"].removeprefix(f"{NAME}-"): alarm for alarm in found}


@pytest.mark.parametrize(("target", "ids"), [("fargate", OF_QUEUE_TARGETS), ("agentcore", set())])
def test_every_alarm_tells_the_topic_and_names_its_page(
    synthesized: Synthesized, target: str, ids: set[str]
) -> None:
    found = of_template(synthesized("dev", target)["observability"])
    assert set(found) == ids | OF_ALL_TARGETS
    for name, alarm in found.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
        assert alarm["AlarmDescription"].endswith(f" docs/runbooks/{name}.md")


def test_every_page_has_an_alarm_and_every_alarm_a_page() -> None:
    pages = {path.name.removesuffix(".md"): path for path in (ROOT / "docs/runbooks").iterdir()}
    assert set(pages) == OF_QUEUE_TARGETS | OF_ALL_TARGETS | {"token-spend"}
    for name, page in pages.items():
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        for section in ("**Means.**", "**Meanwhile.**", "**First look.**", "**Causes", "**Over when**"):
            assert section in text, f"{name}: {section}"
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (page.parent / link).is_file(), f"{name}: {link}"


def test_thresholds_come_from_the_settings() -> None:
    found = table(deployment(oldest_message_seconds=123, daily_token_budget=5_000_000, stall_minutes=77))
    assert found["oldest-message"].threshold == 123
    assert (found["token-spend"].threshold, found["token-spend"].seconds) == (5_000_000, 86400)
    assert "77 min" in found["job-stalled"].says
    assert "token-spend" not in table(deployment())
    # The service's rules of thumb, and ours.
    shares = {"rollouts-failed": 0.01, "rewards-imputed": 0.01, "token-cap": 0.05, "turns-exhausted": 0.10}
    for name, share in shares.items():
        assert (found[name].threshold, found[name].statistic) == (share, "Average")


def test_a_page_can_be_a_link() -> None:
    settings = deployment(runbooks_url="https://git.example/mtrl/blob/main")
    link = table(settings)["dead-letters"].link(settings)
    assert link == "https://git.example/mtrl/blob/main/docs/runbooks/dead-letters.md"


def test_where_no_worker_is_kept_the_alarm_waits_for_the_first_one() -> None:
    assert table(deployment(workers=1))["work-waiting"].periods == 1
    assert table(deployment(workers=0))["work-waiting"].periods == 4


def tick_input(template: Template, noun: str) -> dict[str, int]:
    """What the rule of a function hands it once a minute."""
    (rule,) = [
        each["Properties"]
        for each in resources(template, "AWS::Events::Rule")
        if each["Properties"]["Name"] == f"{NAME}-{noun}-every-minute"
    ]
    found: dict[str, int] = json.loads(rule["Targets"][0].get("Input", "{}"))
    return found


def test_work_without_a_worker_is_noticed_within_a_minute(synthesized: Synthesized) -> None:
    """The longest way: a look just missed it, the second look confirms it, and two periods of the alarm."""
    gauges, template = load("gauges"), synthesized("dev", "fargate")["observability"]
    looks = tick_input(template, "gauges")["looks"]
    alarm = of_template(template)["work-waiting"]
    gap = max(gauges.LOOK_SECONDS, 60 - (looks - 1) * gauges.LOOK_SECONDS)
    assert gap + gauges.SECOND_LOOK_SECONDS + 2 * alarm["Period"] < 60
    assert (looks - 1) * gauges.LOOK_SECONDS + gauges.SECOND_LOOK_SECONDS < TIMEOUT_SECONDS
    assert alarm["TreatMissingData"] == "ignore", "most periods have no figure, which is no news"
    watched = table(deployment())
    assert watched["reward-variance-gone"].silence == "trouble", "silent gauges are told of by this one"


@pytest.mark.parametrize(("workers", "quick"), [(1, False), (0, True)])
def test_slow_gauges_look_once_a_minute(workers: int, quick: bool) -> None:
    settings = deployment(workers=workers, quick_gauges=quick)
    alarm = table(settings)["work-waiting"]
    assert not settings.quick_gauges
    assert (alarm.seconds, alarm.silence) == (60, "trouble")
    assert "gauges are silent" in alarm.says


def published(template: Template) -> set[tuple[str, str, tuple[tuple[str, str], ...]]]:
    """The metrics of our own that are published for the deployment, as (namespace, name, dimensions)."""
    line = rollout_line()
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    environment = tuple((name, line[name]) for (name,) in directive["Dimensions"])
    found = {(directive["Namespace"], metric["Name"], environment) for metric in directive["Metrics"]}
    for noun in ("gauges", "job_watcher"):
        files = (ROOT / f"lambda/{noun}").glob("*.py")
        source = "".join(path.read_text(encoding="utf-8") for path in files)
        names = set(re.findall(r'"([A-Z][a-zA-Z]+)"', source))
        found |= {(NAME, name, (("Deployment", NAME),)) for name in names}
    for filter_ in resources(template, "AWS::Logs::MetricFilter"):
        for metric in filter_["Properties"]["MetricTransformations"]:
            found.add((metric["MetricNamespace"], metric["MetricName"], ()))
    return found


def test_alarms_and_dashboard_read_metrics_that_are_published(synthesized: Synthesized) -> None:
    template = synthesized("dev", "fargate")["observability"]
    ours = published(template)
    for alarm in of_template(template).values():
        assert "Metrics" not in alarm, "the emulator deploys no metric math, see lambda/gauges"
        dimensions = tuple((each["Name"], each["Value"]) for each in alarm.get("Dimensions", ()))
        if alarm["Namespace"] == NAME:
            assert (NAME, alarm["MetricName"], dimensions) in ours
    shown = {
        (namespace, name, tuple(zip(rest[::2], rest[1::2], strict=True)))
        for namespace, name, *rest in dashboard_metrics(template)
    }
    assert {each for each in shown if each[0] == NAME} <= ours
    assert {("AWS/SQS", "ApproximateNumberOfMessagesVisible", (("QueueName", f"{NAME}-rollouts"),))} <= shown


def dashboard_metrics(template: Template) -> list[list[str]]:
    (dashboard,) = resources(template, "AWS::CloudWatch::Dashboard")
    assert dashboard["Properties"]["DashboardName"] == NAME
    widgets = json.loads(dashboard["Properties"]["DashboardBody"])["widgets"]
    found = [metric for widget in widgets for metric in widget["properties"].get("metrics", ())]
    return [[part for part in metric if isinstance(part, str)] for metric in found]


def test_queue_metrics_are_those_of_the_deployments_own_queues(synthesized: Synthesized) -> None:
    templates = synthesized("dev", "fargate")
    queues = {each["Properties"]["QueueName"] for each in resources(templates["intake"], "AWS::SQS::Queue")}
    functions = {
        each["Properties"]["FunctionName"] for each in resources(templates["intake"], "AWS::Lambda::Function")
    }
    for alarm in of_template(templates["observability"]).values():
        for dimension in alarm.get("Dimensions", ()):
            if dimension["Name"] == "QueueName":
                assert dimension["Value"] in queues
            if dimension["Name"] == "FunctionName":
                assert dimension["Value"] in functions


def test_agentcore_has_nothing_of_a_queue(synthesized: Synthesized) -> None:
    template = synthesized("dev", "agentcore")["observability"]
    assert not resources(template, "AWS::Logs::MetricFilter")
    assert "MTRL_QUEUE_URL" not in json.dumps(template)
    assert "AWS/SQS" not in json.dumps(template)
    assert "sqs:" not in json.dumps(template)


@pytest.mark.parametrize("noun", ["job-watcher", "gauges"])
def test_only_its_own_rule_may_start_a_watcher(synthesized: Synthesized, noun: str) -> None:
    template = synthesized("dev", "fargate")["observability"]
    (function,) = [
        each
        for each in resources(template, "AWS::Lambda::Function")
        if each["Properties"]["FunctionName"] == f"{NAME}-{noun}"
    ]
    arn = {"Fn::GetAtt": [function["id"], "Arn"]}
    (rule,) = [
        each["Properties"]
        for each in resources(template, "AWS::Events::Rule")
        if each["Properties"]["Targets"][0]["Arn"] == arn
    ]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    (permission,) = [
        each["Properties"]
        for each in resources(template, "AWS::Lambda::Permission")
        if each["Properties"]["FunctionName"] == arn
    ]
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == f"arn:aws:events:us-west-2:{ACCOUNT}:rule/{rule['Name']}"
    assert function["Properties"]["Timeout"] < 60, "two ticks would overlap"
    (asynchronous,) = [
        each["Properties"]
        for each in resources(template, "AWS::Lambda::EventInvokeConfig")
        if each["Properties"]["FunctionName"] == {"Ref": function["id"]}
    ]
    assert asynchronous["MaximumRetryAttempts"] == 0


def test_a_watcher_that_falls_silent_raises_an_alarm(synthesized: Synthesized) -> None:
    """One alarm for each of the two: gauges that cannot see the queue publish no FlatRewards either."""
    for target in ("fargate", "agentcore"):
        found = of_template(synthesized("dev", target)["observability"])
        loud = {name for name, each in found.items() if each["TreatMissingData"] == "breaching"}
        assert loud == {"reward-variance-gone", "job-stalled"}


def test_the_stack_imports_nothing_but_the_key(synthesized: Synthesized) -> None:
    """It is deployed where the adapter's stack is not, such as on the emulator."""
    imported = set(
        re.findall(
            r'"Fn::ImportValue": "([^"]+)"', json.dumps(synthesized("dev", "fargate")["observability"])
        )
    )
    assert imported
    assert all(name.startswith(f"{NAME}-foundation:ExportsOutput") and "Key" in name for name in imported)


def test_the_topic_is_the_foundations(synthesized: Synthesized) -> None:
    (topic,) = resources(synthesized("dev", "fargate")["foundation"], "AWS::SNS::Topic")
    assert topic["Properties"]["TopicName"] == TOPIC.rsplit(":", 1)[1]
