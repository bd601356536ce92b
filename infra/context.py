"""From the CDK context to the settings of one deployment.

    cdk deploy --all -c env=dev -c target=fargate -c adapter=sop
    python -m infra.context --env dev --target fargate --adapter sop       (looks at the settings alone)

`environments` and `adapters` are objects in cdk.json's context, or each the name of a JSON file.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infra.adapter_files import on_disk
from infra.errors import CHOSEN, SettingsError, nearest, problems_of, refusal
from infra.settings import UNKNOWN_ACCOUNT, Deployment

ROOT = Path(__file__).parents[1]
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
    settings = _merged(env, target, adapter, chosen, of_adapter, problems)
    if default_account is not None:
        settings.setdefault("account", default_account)
    problems += on_disk(settings["adapter"], root)
    return _validated(settings, problems)


def context_of(env: str, target: str, adapter: str) -> dict[str, Any]:
    """The context of cdk.json as the CDK command line hands it to the app."""
    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    return {**context, "env": env, "target": target, "adapter": adapter}


def _merged(
    env: str,
    target: str,
    adapter: str,
    chosen: Mapping[str, Any],
    of_adapter: Mapping[str, Any],
    problems: list[str],
) -> dict[str, Any]:
    """The settings as one object. What would be replaced here without a word goes to `problems`."""
    for name in sorted(CHOSEN & chosen.keys()):
        problems.append(f"environments.{env}.{name}: is chosen by -c {name}=NAME; take it out.")
    settings = {name: value for name, value in chosen.items() if name not in CHOSEN}
    targets = _object(settings.pop("targets", {}), f"environments.{env}.targets")
    unknown = [name for name in targets if name not in TARGETS]
    problems += [f"targets: unknown key '{name}'.{nearest(name, TARGETS)}" for name in unknown]
    own_target = _object(targets.get(target, {}), f"targets.{target}")
    if "kind" in own_target:
        problems.append(f"targets.{target}.kind: is chosen by -c target=NAME; take it out.")
    # An environment has the last word on its adapter: production logs less, and pins an image.
    own = _object(settings.pop("adapter", {}), f"environments.{env}.adapter")
    settings["adapter"] = {"environment": adapter, **of_adapter, **own}
    settings["target"] = {**own_target, "kind": target}
    settings["env"] = env
    return settings


def _validated(settings: dict[str, Any], problems: list[str]) -> Deployment:
    if "account" not in settings:
        problems.append("account: is required. Pin it for the environment, or give the CDK CLI credentials.")
    try:
        found = Deployment.model_validate({"account": UNKNOWN_ACCOUNT, **settings})
    except ValidationError as error:
        problems += problems_of(error, Deployment)
    if problems:
        raise SettingsError(problems)
    return found


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


def main() -> None:
    """Say which account and Region a deployment of cdk.json is for, or what is wrong: exit code 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("env", "target", "adapter"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--account", help="of the credentials, for environments that pin none")
    given = parser.parse_args()
    try:
        found = load(context_of(given.env, given.target, given.adapter).get, ROOT, given.account)
    except SettingsError as error:
        sys.stderr.write(refusal(error))
        sys.exit(2)
    sys.stdout.write(json.dumps({"account": found.account, "region": found.region}) + "\n")


if __name__ == "__main__":
    main()
