"""Model packages: the trained parameters that a job leaves behind and a later job starts from."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rehearsal.policies.base import PolicyError, ServedPolicy, TrainablePolicy
from rehearsal.policies.bedrock import BedrockPolicy
from rehearsal.policies.openai import OpenAIPolicy
from rehearsal.policies.scripted import ScriptedPolicy
from rehearsal.policies.tiny import TinyPolicy
from rehearsal.service.state.store import Store

_TABLE = "model_packages"


class Models:
    """Makes policies: the base that the stand-in was started with, or a trained package of it."""

    def __init__(self, store: Store, base: str) -> None:
        self._store = store
        self._base = base
        make_policy(base)  # a wrong specification is found when the stand-in starts, not in a job

    def policy(self, package_arn: str | None) -> ServedPolicy:
        """A fresh policy for one job.

        Raises:
            PolicyError: the package is unknown, or was trained from another kind of policy.
        """
        policy = make_policy(self._base)
        if package_arn is None:
            return policy
        package = self._store.get(_TABLE, package_arn)
        if package is None:
            raise PolicyError(f"There is no model package {package_arn}. Train one first.")
        if package["base"] != self._base:
            raise PolicyError(
                f"{package_arn} was trained from policy {package['base']!r}, not {self._base!r}."
            )
        if isinstance(policy, TrainablePolicy):
            try:
                policy.load(np.array(package["parameters"]))
            except ValueError as error:
                raise PolicyError(f"{package_arn} is of another version: {error}. Train again.") from None
        return policy  # one that cannot be trained is what it was

    def register(self, group_arn: str, policy: ServedPolicy, job_arn: str) -> str:
        """Store the policy as the next version in a model package group; returns the package ARN."""
        prefix = group_arn.replace(":model-package-group/", ":model-package/", 1)
        taken = sum(arn.rsplit("/", 1)[0] == prefix for arn in self._store.all(_TABLE))
        arn = f"{prefix}/{taken + 1}"
        parameters: list[float] = []
        if isinstance(policy, TrainablePolicy):
            parameters = policy.parameters.tolist()
        package: dict[str, Any] = {"base": self._base, "parameters": parameters, "job": job_arn}
        self._store.put(_TABLE, arn, package)
        return arn


def make_policy(spec: str) -> ServedPolicy:
    """A policy from `tiny`, `tiny:CHECKPOINT`, `scripted:FILE`, `openai:URL` or `bedrock:MODEL`.

    Raises:
        PolicyError: says what is wrong and what is accepted.
    """
    kind, _, argument = spec.partition(":")
    if kind == "tiny" and not argument:
        return TinyPolicy()
    if kind == "tiny":
        return _from_checkpoint(argument)
    if kind == "scripted" and argument:
        return ScriptedPolicy.from_file(argument)
    if kind == "openai" and argument:
        return OpenAIPolicy(argument)
    if kind == "bedrock" and argument:
        return BedrockPolicy(argument)
    raise PolicyError(
        f"Unknown policy {spec!r}. Accepted: tiny, tiny:CHECKPOINT, scripted:FILE, openai:URL, bedrock:MODEL."
    )


def _from_checkpoint(path: str) -> TinyPolicy:
    """The tiny policy with the `parameters` of a checkpoint, a JSON file that a training job wrote."""
    policy = TinyPolicy()
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
        policy.load(np.array(body["parameters"], dtype=np.float64))
    except OSError as error:
        raise PolicyError(f"Cannot read the checkpoint {path}: {error.strerror}.") from None
    except (KeyError, TypeError):
        raise PolicyError(f"{path} is no checkpoint of the tiny policy: no list of `parameters`.") from None
    except ValueError as error:  # not JSON, not numbers, or another number of them
        raise PolicyError(f"{path} is no checkpoint of the tiny policy: {error}.") from None
    if not np.isfinite(policy.parameters).all():
        raise PolicyError(f"{path} is no checkpoint of the tiny policy: not all parameters are finite.")
    return policy
