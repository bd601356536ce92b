"""The key ring of sealed ground truth: keys by key id, from a file, Secrets Manager, or wrapped by KMS.

    file:/path.json              {"2026-11": "<base64 of 32 bytes>", ...}
    secretsmanager:<secret ARN>  the same JSON as the secret's text
    kms:/path.json               the same form; each value is what KMS made of a key (Encrypt, with the
                                 encryption context {"mtrl:seal-key": <key id>})

Law: no message, and no repr, holds a key or a part of one.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.runtime.aws import aws_client

KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KMS_CONTEXT = "mtrl:seal-key"
FORMS = "file:/path.json, secretsmanager:ARN or kms:/path.json"
_SECRET_ARN = re.compile(r"arn:[a-z\-]+:secretsmanager:(?P<region>[a-z0-9\-]+):[0-9]{12}:secret:\S+")

Clients = Callable[[str, str], Any]


class KeysError(ValueError):
    """The key ring cannot be had; says what is wrong and what to do, and shows no key."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys of 32 bytes by key id. An empty one opens nothing."""

    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def load_keys(place: str, region: str, clients: Clients = aws_client) -> KeyRing:
    """Read the key ring that `place` names. Blocks; made for the start of a process.

    Args:
        place: one of the three forms above.
        region: for KMS; a secret's Region is in its ARN.

    Raises:
        KeysError: the place or what it holds is wrong.
    """
    kind, _, where = place.partition(":")
    if kind == "file" and where:
        return KeyRing(_keys(_file(where), where, _decoded))
    if kind == "secretsmanager":
        return KeyRing(_keys(_secret(where, clients), where, _decoded))
    if kind == "kms" and where:
        return KeyRing(_keys(_file(where), where, _unwrapping(region, clients)))
    raise KeysError(f"{place!r} is none of {FORMS}.")


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}. Check the path and its mode.") from None
    except UnicodeDecodeError:
        raise KeysError(f"{path}: is no text. Write JSON: key id to base64 of {KEY_BYTES} bytes.") from None


def _secret(arn: str, clients: Clients) -> str:
    match = _SECRET_ARN.fullmatch(arn)
    if match is None:
        raise KeysError(f"{arn!r} is no ARN of a secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME).")
    answer = _called(
        arn, "secretsmanager:GetSecretValue", clients("secretsmanager", match["region"]).get_secret_value,
        SecretId=arn,
    )  # fmt: skip
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise KeysError(f"{arn}: holds bytes. Store the key ring as text: JSON, key id to base64.")
    return text


def _unwrapping(region: str, clients: Clients) -> Callable[[str, str, str], bytes]:
    client = clients("kms", region)

    def unwrap(where: str, kid: str, text: str) -> bytes:
        answer = _called(
            f"{where}: key {kid!r}", "kms:Decrypt", client.decrypt,
            CiphertextBlob=_base64(where, kid, text), EncryptionContext={KMS_CONTEXT: kid},
        )  # fmt: skip
        key: bytes = answer["Plaintext"]
        return key

    return unwrap


def _called(where: str, permission: str, call: Callable[..., Any], **arguments: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call(**arguments)
    except (BotoCoreError, ClientError) as error:
        raise KeysError(f"{where}: {error}. Check the Region and the permission {permission}.") from None


def _keys(text: str, where: str, read: Callable[[str, str, str], bytes]) -> dict[str, bytes]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):  # its message is not shown: the text is made of keys
        raise KeysError(f"{where}: is not valid JSON. Write key id to base64 of {KEY_BYTES} bytes.") from None
    if not isinstance(body, dict) or not body:
        raise KeysError(f"{where}: must be a JSON object with at least one key, by key id.")
    return {kid: _key(where, kid, value, read) for kid, value in body.items()}


def _key(where: str, kid: str, value: object, read: Callable[[str, str, str], bytes]) -> bytes:
    if not KEY_ID.fullmatch(kid):
        raise KeysError(f"{where}: a key id has 1 to 64 letters, digits, dots, dashes or underscores.")
    key = read(where, kid, value if isinstance(value, str) else "")
    if len(key) != KEY_BYTES:
        raise KeysError(
            f"{where}: key {kid!r} must be {KEY_BYTES} bytes in base64, and has {len(key)} bytes. "
            f"Make one with: openssl rand -base64 {KEY_BYTES}"
        )
    return key


def _decoded(where: str, kid: str, text: str) -> bytes:
    return _base64(where, kid, text)


def _base64(where: str, kid: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeysError(f"{where}: key {kid!r} is no base64. Encode its bytes again.") from None
