"""The key ring of sealed ground truth, as a deployment names it (a leaf, as settings.py).

The adapter takes three forms (adapters/runtime/seal_keys.py), and a deployment two of them: a secret, or a
file of keys that KMS has wrapped. Plain keys in a file would be plain keys in an image.
"""

import re

SECRET, WRAPPED = "secretsmanager:", "kms:"
_SECRET_ARN = re.compile(
    r"arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):secret:(?P<name>[\w/+=.@-]+)"
)
_KEY_ARN = re.compile(
    r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:key/(?:[0-9a-f-]{36}|mrk-[0-9a-f]{32})"
)
_SUFFIX = re.compile(r".+-[A-Za-z0-9]{6}")


def secret_arn(place: str | None) -> str | None:
    """The ARN of the secret that a key ring is in, if it is in one."""
    return place.removeprefix(SECRET) if place is not None and place.startswith(SECRET) else None


def seal_keys_problem(place: str | None, key_arn: str | None, region: str, account: str | None) -> str | None:
    """What is wrong with `adapter.seal_keys` and `adapter.seal_key_arn`, as a sentence without its end."""
    if place is None:
        return "adapter.seal_key_arn: is given without seal_keys; name the key ring too" if key_arn else None
    problem = _wrapping_key(key_arn, region) if key_arn is not None else None
    if problem is not None:
        return problem
    if place.startswith("file:"):
        return (
            "adapter.seal_keys: a file of plain keys would be in the image; put them into a secret, and "
            "write secretsmanager:ARN"
        )
    if place.startswith(WRAPPED):
        return _wrapped(place.removeprefix(WRAPPED), key_arn)
    arn = secret_arn(place)
    if arn is None:
        return f"adapter.seal_keys: '{place}' is neither secretsmanager:ARN nor kms:/path.json"
    return _secret(arn, key_arn, region, account)


def _wrapped(path: str, key_arn: str | None) -> str | None:
    if path.startswith("arn:"):
        return (
            "adapter.seal_keys: kms: is followed by the file of wrapped keys, such as kms:/app/keys.json; "
            "the key that unwraps them goes into seal_key_arn"
        )
    if not path.startswith("/"):
        return (
            f"adapter.seal_keys: '{path}' is no absolute path; name the file's place where the adapter runs"
        )
    if key_arn is None:
        return (
            "adapter.seal_key_arn: is required with seal_keys kms:…; name the KMS key that wrapped the keys"
        )
    return None


def _secret(arn: str, key_arn: str | None, region: str, account: str | None) -> str | None:
    found = _SECRET_ARN.fullmatch(arn)
    if found is None:
        return (
            f"adapter.seal_keys: '{arn}' is no secret's ARN "
            "(arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-6CHARS)"
        )
    if _SUFFIX.fullmatch(found["name"]) is None:
        return (
            f"adapter.seal_keys: secret '{found['name']}' lacks the six characters that AWS adds to its "
            "name; copy the whole ARN, which the adapter's role is limited to"
        )
    if found["region"] != region:
        return (
            f"adapter.seal_keys: the secret is in {found['region']}, the deployment in {region}; replicate "
            "it there, and name the replica"
        )
    if account is not None and found["account"] != account and key_arn is None:
        return (
            f"adapter.seal_key_arn: is required, because the secret is in account {found['account']}: it can "
            "be read from another one only with a KMS key of its own"
        )
    return None


def _wrapping_key(arn: str, region: str) -> str | None:
    found = _KEY_ARN.fullmatch(arn)
    if found is None:
        return (
            f"adapter.seal_key_arn: '{arn}' is no KMS key's ARN (arn:aws:kms:REGION:ACCOUNT:key/ID); an "
            "alias is none: permissions name keys"
        )
    if found["region"] != region:
        return f"adapter.seal_key_arn: the key is in {found['region']}, and must be in {region}"
    return None
