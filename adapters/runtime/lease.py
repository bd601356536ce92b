"""A rollout's item in DynamoDB: the terms of a lease on it, and the conditional writes that there are.

The calls block; `dynamo_ledger` keeps them off the event loop. Every write names the owner and the epoch
that it is made for and writes the same values when it is repeated, so a lost answer does no harm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from botocore.exceptions import ClientError

from adapters.contract import Outcome, StopReason

CHECK_MARGIN_SECONDS = 5.0
"""How much longer than a request a lease must last for the request to be started."""
RENEWAL_SECONDS = 10.0
"""What the constructor allows for a renewal that is slow."""
HELD = "#owner = :owner AND #epoch = :epoch"


class ConditionFailed(Exception):
    """A write was refused, because the item is not as its condition says. `item` is what it is."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        super().__init__("the condition of a ledger write failed")
        self.item = item


@dataclass(frozen=True, slots=True)
class Terms:
    """How long what lasts, in seconds."""

    lease: float
    request_timeout: float
    skew: float
    retention: float

    def __post_init__(self) -> None:
        if not (self.request_timeout > 0 and self.skew >= 0 and self.retention > self.takeover):
            raise ValueError(
                "request_timeout must be positive, skew not negative, and retention longer than a takeover "
                f"takes; got {self}"
            )
        needed = 1.5 * (self.request_timeout + CHECK_MARGIN_SECONDS + RENEWAL_SECONDS)
        if not self.lease >= needed:
            # Shorter, a request could not be started just before a renewal, and after a slow one never.
            raise ValueError(
                f"lease={self.lease:g} is too short for requests of {self.request_timeout:g} s: between two "
                f"renewals, a third of the lease apart, a request must still fit. Use {needed:g} or more."
            )

    @property
    def grace(self) -> float:
        """How long after its end a lease still stands: the last request may be in flight, clocks differ."""
        return self.request_timeout + self.skew

    @property
    def takeover(self) -> float:
        return self.lease + self.grace


@dataclass(frozen=True, slots=True)
class Hold:
    """What a claim got: the item as it was, and the number that fences its writes."""

    key: str
    owner: str
    epoch: int
    attempt: int
    sampled: int
    handed_back: int | None
    outcome: Outcome | None

    @property
    def values(self) -> dict[str, Any]:
        return {":owner": self.owner, ":epoch": self.epoch}


class LeaseTable:
    """The writes. Each raises ConditionFailed, or a botocore error after the client's own retries."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def take(self, key: str, owner: str, token: str, wall: float, terms: Terms) -> Hold | Outcome | None:
        """Claim the item if nobody has it, or nobody can still be at work on it.

        Returns:
            The claim; the outcome of an item that is acknowledged; None while another claim may be at work.
        """
        try:
            item = self._update(
                key,
                "SET #owner = :owner, #token = :token, #lease_ends = :ends, #renewal = :zero, "
                "#expires_on = :expires ADD #epoch :one, #attempt :one",
                "attribute_not_exists(#acknowledged) AND "
                "(attribute_not_exists(#owner) OR #lease_ends < :ended)",
                {
                    ":owner": owner,
                    ":token": token,
                    ":ends": wall + terms.lease,
                    ":ended": wall - terms.grace,
                    ":expires": int(wall + terms.retention),
                    ":zero": 0,
                    ":one": 1,
                },
            )
        except ConditionFailed as refusal:
            if "acknowledged" in refusal.item:
                return _outcome(refusal.item)
            # Our own write, whose answer was lost and which the client repeated, has the token too.
            if _text(refusal.item, "token") != token:
                return None
            item = refusal.item
        return _hold(key, item)

    def renew(self, hold: Hold, number: int, ends: float) -> None:
        """Move the lease's end. Numbered, so that a renewal that was held up cannot undo a later one."""
        self._update(
            hold.key,
            "SET #lease_ends = :ends, #renewal = :number",
            f"{HELD} AND #renewal <= :number",
            {**hold.values, ":ends": ends, ":number": number},
        )

    def sampling(self, hold: Hold, begun: int) -> None:
        """From now on the stored log may lack a turn, so a hand-back no longer stands.

        The count never falls, so that a write that was held up cannot hide a Sample that was begun since.
        """
        self._update(
            hold.key,
            "SET #sampled = :begun REMOVE #handed_back",
            f"{HELD} AND (attribute_not_exists(#sampled) OR #sampled <= :begun)",
            {**hold.values, ":begun": begun},
        )

    def record(self, hold: Hold, outcome: Outcome) -> None:
        """Write the outcome. One that stands may have been reported: no other ever takes its place."""
        self._update(
            hold.key,
            "SET #outcome = :outcome",
            f"{HELD} AND (attribute_not_exists(#outcome) OR #outcome = :outcome)",
            {**hold.values, ":outcome": encode(outcome)},
        )

    def acknowledge(self, hold: Hold) -> None:
        self._update(hold.key, "SET #acknowledged = :yes", HELD, {**hold.values, ":yes": True})

    def release(self, hold: Hold, *, counted: bool = True) -> None:
        """Give the item up. Without an owner, a renewal that is still under way cannot bring it back."""
        self._update(
            hold.key,
            "SET #lease_ends = :zero, #attempt = :attempt REMOVE #owner",
            HELD,
            {**hold.values, ":zero": 0, ":attempt": hold.attempt - (not counted)},
        )

    def hand_back(self, hold: Hold, begun: int, log_epoch: int) -> None:
        """Give the item up to be gone on with. The attempt is taken back: it was no failure."""
        self._update(
            hold.key,
            "SET #lease_ends = :zero, #sampled = :begun, #handed_back = :log, #attempt = :attempt "
            "REMOVE #owner",
            HELD,
            {
                **hold.values,
                ":zero": 0,
                ":begun": begun,
                ":log": log_epoch,
                ":attempt": hold.attempt - 1,
            },
        )

    def _update(
        self, key: str, update: str, condition: str, values: Mapping[str, str | float | bool]
    ) -> Mapping[str, Any]:
        try:
            answer = self._client.update_item(
                TableName=self._name,
                Key={"rollout": {"S": key}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames=_names(update + condition),
                ExpressionAttributeValues={name: _typed(value) for name, value in values.items()},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise ConditionFailed(error.response.get("Item") or {}) from None
        attributes: Mapping[str, Any] = answer["Attributes"]
        return attributes


def encode(outcome: Outcome) -> str:
    return orjson.dumps(outcome).decode()


def decode(text: str) -> Outcome:
    fields = orjson.loads(text)
    sealed: Literal["ready", "failed"] = fields["sealed"]
    return Outcome(
        stop_reason=StopReason(fields["stop_reason"]),
        sealed=sealed,
        rewards=tuple(fields["rewards"]),
        imputed=fields["imputed"],
        score=fields["score"],
        turns=fields["turns"],
    )


def _hold(key: str, item: Mapping[str, Any]) -> Hold:
    return Hold(
        key=key,
        owner=_text(item, "owner"),
        epoch=int(item["epoch"]["N"]),
        attempt=int(item["attempt"]["N"]),
        sampled=_number(item, "sampled") or 0,
        handed_back=_number(item, "handed_back"),
        outcome=_outcome(item),
    )


def _outcome(item: Mapping[str, Any]) -> Outcome | None:
    text = _text(item, "outcome")
    return decode(text) if text else None


def _text(item: Mapping[str, Any], name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _number(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def _names(expression: str) -> dict[str, str]:
    """Every attribute goes by a placeholder: DynamoDB reserves hundreds of words, `owner` among them."""
    return {f"#{name}": name for name in re.findall(r"#(\w+)", expression)}


def _typed(value: str | float | bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    return {"N": str(value) if isinstance(value, int) else f"{value:.3f}"}
