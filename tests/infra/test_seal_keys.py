"""The key ring of sealed data sets: what the settings refuse, and that adapters can read it and no other."""

import json
from typing import Any

import pytest

from infra.errors import SettingsError
from infra.names import Names
from infra.network.endpoints import interface_services
from infra.settings import Deployment
from tests.infra.conftest import synthesize
from tests.infra.test_settings import deployment

SECRET = "arn:aws:secretsmanager:us-west-2:111111111111:secret:seal/keys-Ab12Cd"
FOREIGN = SECRET.replace("111111111111", "222222222222")
KEY = "arn:aws:kms:us-west-2:111111111111:key/12345678-1234-1234-1234-123456789012"
OWN_KEY = "arn:aws:kms:us-west-2:111111111111:key/99999999-1234-1234-1234-123456789012"
PLACE = f"secretsmanager:{SECRET}"

MISTAKES: list[tuple[dict[str, str], str]] = [
    (
        {"seal_keys": "file:/app/keys.json"},
        "adapter.seal_keys: a file of plain keys would be in the image; put",
    ),
    (
        {"seal_keys": SECRET},
        f"adapter.seal_keys: '{SECRET}' is neither secretsmanager:ARN nor kms:/path.json.",
    ),
    (
        {"seal_keys": "secretsmanager:seal/keys"},
        "adapter.seal_keys: 'seal/keys' is no secret's ARN (arn:aws:",
    ),
    ({"seal_keys": f"secretsmanager:{KEY}"}, f"adapter.seal_keys: '{KEY}' is no secret's ARN (arn:aws:"),
    ({"seal_keys": PLACE.replace("111111111111", "1234")}, "is no secret's ARN (arn:aws:"),
    (
        {"seal_keys": PLACE[:-7]},
        "secret 'seal/keys' lacks the six characters that AWS adds to its name; copy",
    ),
    (
        {"seal_keys": PLACE.replace("us-west-2", "eu-west-1")},
        "adapter.seal_keys: the secret is in eu-west-1, the deployment in us-west-2; replicate it there",
    ),
    (
        {"seal_keys": f"secretsmanager:{FOREIGN}"},
        "is required, because the secret is in account 222222222222",
    ),
    ({"seal_keys": f"kms:{KEY}"}, "adapter.seal_keys: kms: is followed by the file of wrapped keys, such as"),
    (
        {"seal_keys": "kms:keys.json", "seal_key_arn": KEY},
        "adapter.seal_keys: 'keys.json' is no absolute path",
    ),
    ({"seal_keys": "kms:/app/keys.json"}, "adapter.seal_key_arn: is required with seal_keys kms:…; name the"),
    ({"seal_key_arn": KEY}, "adapter.seal_key_arn: is given without seal_keys; name the key ring too."),
    (
        {"seal_keys": PLACE, "seal_key_arn": "arn:aws:kms:us-west-2:111111111111:alias/seal"},
        "alias/seal' is no KMS key's ARN (arn:aws:kms:REGION:ACCOUNT:key/ID); an alias is none",
    ),
    (
        {"seal_keys": PLACE, "seal_key_arn": KEY.replace("us-west-2", "us-east-1")},
        "adapter.seal_key_arn: the key is in us-east-1, and must be in us-west-2.",
    ),
]


@pytest.mark.parametrize(("adapter", "sentence"), MISTAKES, ids=[sentence[-48:] for _, sentence in MISTAKES])
def test_each_mistake_has_its_sentence(adapter: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        deployment(adapter=adapter)
    assert sentence in str(caught.value)


def test_a_secret_of_another_account_is_taken_with_its_key() -> None:
    found = deployment(adapter={"seal_keys": f"secretsmanager:{FOREIGN}", "seal_key_arn": OWN_KEY})
    assert found.adapter.seal_key_arn == OWN_KEY


def statements(settings: Deployment) -> list[dict[str, Any]]:
    """Those of every adapter that are about the key ring."""
    from infra.policy.adapter import adapter_statements

    made = [each.to_statement_json() for each in adapter_statements(Names(settings), KEY)]
    return [each for each in made if each["Sid"].startswith("SealKeys")]


def test_without_a_key_ring_nothing_is_allowed() -> None:
    assert statements(deployment()) == []


def test_a_secret_under_the_key_of_aws_needs_no_key() -> None:
    [read] = statements(deployment(adapter={"seal_keys": PLACE}))
    assert (read["Action"], read["Resource"]) == ("secretsmanager:GetSecretValue", SECRET)


def test_wrapped_keys_are_unwrapped_by_one_key_and_in_the_context_of_sealing() -> None:
    [unwrap] = statements(deployment(adapter={"seal_keys": "kms:/app/keys.json", "seal_key_arn": OWN_KEY}))
    assert (unwrap["Action"], unwrap["Resource"]) == ("kms:Decrypt", OWN_KEY)
    assert unwrap["Condition"] == {"Null": {"kms:EncryptionContext:mtrl:seal-key": "false"}}


@pytest.mark.parametrize("target", ["agentcore", "ec2", "eks", "fargate"])
def test_every_target_gets_the_place_and_the_permission(target: str) -> None:
    """In the template of the adapter's stack, at the role that the adapter has."""
    changes = {"adapter": {"seal_keys": PLACE, "seal_key_arn": OWN_KEY, "image_uri": IMAGE}}
    template = synthesize("dev", target, changes)[f"adapter-{target}"]
    policies = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::IAM::ManagedPolicy"
    ]
    [adapter] = [each for each in policies if any(one.get("Sid") == "JobRuntime" for one in each)]
    found = {one["Sid"]: one for one in adapter if one.get("Sid", "").startswith("SealKeys")}
    assert found["SealKeys"]["Resource"] == SECRET
    assert found["SealKeysKey"]["Resource"] == OWN_KEY
    assert found["SealKeysKey"]["Condition"]["StringEquals"] == {
        "kms:ViaService": "secretsmanager.us-west-2.amazonaws.com",
        "kms:EncryptionContext:SecretARN": SECRET,
    }
    assert sum("secretsmanager:" in json.dumps(each) for each in policies) == 1, "no other role may read it"
    text = json.dumps(template)
    assert "MTRL_SEAL_KEYS" in text
    assert PLACE in text


IMAGE = "111111111111.dkr.ecr.us-west-2.amazonaws.com/platform/adapter:1.2.3"
IPV6 = {"egress": "ipv6_egress_only"}


@pytest.mark.parametrize(
    ("target", "adapter", "network", "endpoint"),
    [
        ("fargate", {"seal_keys": PLACE}, IPV6, "secretsmanager"),
        ("ec2", {"seal_keys": "kms:/opt/keys.json", "seal_key_arn": OWN_KEY}, IPV6, "kms"),
        ("agentcore", {"seal_keys": PLACE}, IPV6, "secretsmanager"),
        ("fargate", {"seal_keys": PLACE}, {"egress": "nat"}, None),
        ("fargate", {}, IPV6, None),
    ],
)
def test_an_endpoint_is_paid_for_only_where_there_is_no_other_way(
    target: str, adapter: dict[str, str], network: dict[str, str], endpoint: str | None
) -> None:
    services = interface_services(deployment(target, adapter=adapter, network=network))
    assert {"kms", "secretsmanager"}.intersection(services) == ({endpoint} if endpoint else set())
