"""The key ring, from a file and from AWS services of the emulator; its errors name what to do, and no key."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.runtime.fakes import FakeJobRuntime
from adapters.runtime.seal_keys import KMS_CONTEXT, KeyRing, KeysError, load_keys
from tests.aws import REGION, client
from tests.entrypoints.process import adapter_process, environ, refused
from tests.runtime.kit import wire
from tests.runtime.test_sealing import sealed

KEYS = {"2026-10": bytes(range(32)), "2026-11": bytes(reversed(range(32)))}
ENCODED = {kid: base64.b64encode(key).decode() for kid, key in KEYS.items()}
ARN = f"arn:aws:secretsmanager:{REGION}:111122223333:secret:seal"


def emulated(url: str) -> Callable[[str, str], Any]:
    return lambda service, region: client(service, url)


def key_file(folder: Path, content: object = ENCODED) -> Path:
    path = folder / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_from_a_file(tmp_path: Path) -> None:
    assert load_keys(f"file:{key_file(tmp_path)}", REGION).keys == KEYS


def test_from_secrets_manager(url: str) -> None:
    arn = client("secretsmanager", url).create_secret(Name="ring", SecretString=json.dumps(ENCODED))["ARN"]
    assert load_keys(f"secretsmanager:{arn}", REGION, emulated(url)).keys == KEYS
    arn = client("secretsmanager", url).create_secret(Name="bytes", SecretBinary=b"x")["ARN"]
    with pytest.raises(KeysError, match=r"holds bytes\. Store the key ring as text"):
        load_keys(f"secretsmanager:{arn}", REGION, emulated(url))
    with pytest.raises(KeysError, match=r"Check the Region and the permission secretsmanager:GetSecretValue"):
        load_keys(f"secretsmanager:{ARN}", REGION, emulated(url))


def test_wrapped_by_kms(url: str, tmp_path: Path) -> None:
    kms = client("kms", url)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    wrapped = {
        kid: base64.b64encode(
            kms.encrypt(KeyId=key_id, Plaintext=key, EncryptionContext={KMS_CONTEXT: kid})["CiphertextBlob"]
        ).decode()
        for kid, key in KEYS.items()
    }
    assert load_keys(f"kms:{key_file(tmp_path, wrapped)}", REGION, emulated(url)).keys == KEYS
    swapped = key_file(tmp_path, {"2026-10": wrapped["2026-11"]})
    with pytest.raises(KeysError, match=r"key '2026-10': .*Check the Region and the permission kms:Decrypt"):
        load_keys(f"kms:{swapped}", REGION, emulated(url))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("keys.json", "'keys.json' is none of file:/path.json, secretsmanager:ARN or kms:/path.json."),
        ("file:", "is none of"),
        ("vault:x", "is none of"),
        ("file:/not/there.json", "cannot be read: No such file or directory. Check the path and its mode."),
        ("secretsmanager:ring", "'ring' is no ARN of a secret"),
    ],
)
def test_a_wrong_place_is_named(place: str, message: str) -> None:
    with pytest.raises(KeysError) as caught:
        load_keys(place, REGION)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"k1": "SECRET', "is not valid JSON. Write key id to base64 of 32 bytes."),
        ("[" * 100_000, "is not valid JSON"),
        ([], "must be a JSON object with at least one key"),
        ({}, "must be a JSON object with at least one key"),
        ({"k 1": "SECRET"}, "a key id has 1 to 64 letters"),
        ({"k1": "SECRET?"}, "key 'k1' is no base64"),
        ({"k1": "U0VDUkVU"}, "key 'k1' must be 32 bytes in base64, and has 6 bytes. Make one with: openssl"),
        ({"k1": 7}, "has 0 bytes"),
    ],
)
def test_a_wrong_key_is_named_and_not_shown(tmp_path: Path, content: object, message: str) -> None:
    path = key_file(tmp_path, content)
    with pytest.raises(KeysError) as caught:
        load_keys(f"file:{path}", REGION)
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "U0VDUkVU" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(b"\xff")
    with pytest.raises(KeysError, match="is no text"):
        load_keys(f"file:{tmp_path / 'keys.json'}", REGION)


def test_a_key_ring_does_not_show_its_keys() -> None:
    assert repr(KeyRing(KEYS)) == "KeyRing()"


async def test_an_adapter_process_opens_what_its_ring_can(tmp_path: Path) -> None:
    ring = key_file(tmp_path, {"k1": base64.b64encode(bytes(range(32))).decode()})
    body = {"id": "t1", "environment": "fake", "input": {"text": "x"}}
    async with (
        FakeJobRuntime() as service,
        adapter_process(tmp_path, service.url, MTRL_SEAL_KEYS=f"file:{ring}", MTRL_LOG_LEVEL="DEBUG") as own,
    ):
        status, answer = await own.post(wire() | {"prompt": json.dumps({**body, "target": sealed()})})
        assert (status, answer["status"]) == (200, "completed")
        unknown = json.dumps({**body, "target": sealed(kid="k9")})
        status, answer = await own.post(wire("r2") | {"prompt": unknown})
        assert (status, answer["field"]) == (400, "prompt.target.sealed")
        assert "'k9'" in answer["errorMessage"]
        assert "TARGET-7" not in own.log.read_text()


async def test_a_ring_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    variables = environ(tmp_path, "http://127.0.0.1:1", MTRL_SEAL_KEYS="file:/not/there.json")
    code, text = await refused(variables, tmp_path / "log")
    assert code == 2
    assert "MTRL_SEAL_KEYS: /not/there.json: cannot be read" in text
    assert "Traceback" not in text
