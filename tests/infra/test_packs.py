"""The policy packs and the linter: no finding without a written reason, no reason that nobody can read."""

import json
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3

from infra.acknowledged import collect, inserted
from infra.synthesis import PACKS, lint, report
from tests.infra.conftest import ROOT, SHIPPED, Assemblies

ACKNOWLEDGED: dict[tuple[str, str], int] = {
    ("dev", "agentcore"): 90,
    ("dev", "ec2"): 107,
    ("dev", "eks"): 130,
    ("dev", "fargate"): 104,
    ("prod", "agentcore"): 92,
    ("prod", "ec2"): 107,
    ("prod", "eks"): 130,
    ("prod", "fargate"): 104,
}
"""Findings accepted in writing, by deployment. One more is a decision: see docs/security.md."""


@pytest.mark.parametrize(("env", "target"), SHIPPED)
def test_every_finding_is_answered(assemblies: Assemblies, env: str, target: str) -> None:
    line = assemblies.summary(env, target)
    assert line["findings"] == dict.fromkeys(PACKS, 0)
    assert line["acknowledged"] == ACKNOWLEDGED[env, target]


def test_the_linter_has_nothing_to_say(assemblies: Assemblies) -> None:
    said = lint([assemblies.folder(env, target) for env, target in SHIPPED])
    assert {folder.name: messages for folder, messages in said.items() if messages} == {}


def test_docs_list_every_reason(assemblies: Assemblies) -> None:
    """Renewed by `make synth ARGS=--write-docs`."""
    document = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = collect(assemblies.folder(env, target) for env, target in SHIPPED)
    assert document == inserted(document, rows)


def test_reasons_are_of_their_own(assemblies: Assemblies) -> None:
    for reason in collect(assemblies.folder(env, target) for env, target in SHIPPED):
        assert len(reason.split()) >= 6, reason
        assert "generic" not in reason.lower()


def test_a_finding_without_a_reason_is_counted(tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path))
    s3.Bucket(cdk.Stack(app, "open"), "Bucket")
    cdk.Validations.of(app).add_plugins(*(pack(app) for pack in PACKS.values()))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    found, accepted = report(tmp_path)
    assert all(
        found[pack] > 0 for pack in ("AwsSolutions", "NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321")
    )
    assert accepted == 0


def test_the_linter_is_really_asked(tmp_path: Path) -> None:
    wrong = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": "soon"}}}}
    (tmp_path / "wrong.template.json").write_text(json.dumps(wrong))
    [message] = lint([tmp_path])[tmp_path]
    assert message.startswith("wrong.template.json: E3012")
