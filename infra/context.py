"""From the CDK context to the settings of one deployment.

    cdk deploy --all -c env=dev -c target=fargate -c adapter=sop

`environments` and `adapters` are objects in cdk.json's context, or each the name of a JSON file.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infra.errors import SettingsError, nearest, problems_of
from infra.settings import Deployment

TARGETS = ("agentcore", "ec2", "eks", "fargate")


def load(context: Callable[[str], Any], root: Path, default_account: str | None = None) -> Deployment:
    """The deployment that `env`, `target` and `adapter` choose.

    Args:
        context: looks a context key up; None if it is not set.
        root: the folder that file names are relative to.
        default_account: the account of the caller's credentials, for environments that pin none.

    Raises:
        SettingsError: every mistake at once, in sentences.
    """
    environments = _table(context("environments"), "environments", root)
    adapters = _table(context("adapters"), "adapters", root)
    problems: list[str] = []
    env = _chosen(context("env"), "env", environments, problems)
    target = _chosen(context("target"), "target", TARGETS, problems)
    adapter = _chosen(context("adapter"), "adapter", adapters, problems)
    if problems:
        raise SettingsError(problems)
    chosen = _object(environments[env], f"environments.{env}")
    of_adapter = _object(adapters[adapter], f"adapters.{adapter}")
    return _validated(_merged(env, target, adapter, chosen, of_adapter, default_account))


def _merged(
    env: str,
    target: str,
    adapter: str,
    chosen: Mapping[str, Any],
    of_adapter: Mapping[str, Any],
    default_account: str | None,
) -> dict[str, Any]:
    settings = dict(chosen)
    targets = _object(settings.pop("targets", {}), f"environments.{env}.targets")
    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        raise SettingsError([f"targets: unknown key '{unknown[0]}'.{nearest(unknown[0], TARGETS)}"])
    # An environment has the last word on its adapter: production logs less, and pins an image.
    own = _object(settings.pop("adapter", {}), f"environments.{env}.adapter")
    settings["adapter"] = {"environment": adapter, **of_adapter, **own}
    settings["target"] = {**_object(targets.get(target, {}), f"targets.{target}"), "kind": target}
    settings["env"] = env
    if default_account is not None:
        settings.setdefault("account", default_account)
    return settings


def _validated(settings: dict[str, Any]) -> Deployment:
    if "account" not in settings:
        raise SettingsError(
            ["account: is required. Pin it for the environment, or give the CDK CLI credentials."]
        )
    try:
        return Deployment.model_validate(settings)
    except ValidationError as error:
        raise SettingsError(problems_of(error, Deployment)) from None


def _chosen(value: Any, key: str, accepted: Any, problems: list[str]) -> str:
    if not value:
        problems.append(f"{key}: is not chosen. Add -c {key}=NAME.{nearest('', accepted)}")
    elif value not in accepted:
        problems.append(f"unknown {key} '{value}'.{nearest(value, accepted)}")
    return str(value)


def _table(value: Any, key: str, root: Path) -> dict[str, Any]:
    if isinstance(value, str):
        value = _read(root / value, key)
    return _object(value if value is not None else {}, key)


def _read(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{key}: the file {path} cannot be read: {error.strerror}."]) from None
    except ValueError as error:
        raise SettingsError([f"{key}: the file {path} is not valid JSON: {error}."]) from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError([f"{where}: must be an object, not {json.dumps(value)[:80]}."])
    return value
