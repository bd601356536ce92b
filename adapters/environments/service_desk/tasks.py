"""The tasks: made on the fly from fixed seeds, each with the books and the answer that must hold."""

from collections.abc import Mapping

from adapters.contract import Split, Task
from adapters.environments.service_desk.desk import State
from adapters.environments.service_desk.policy import judge
from adapters.environments.service_desk.world import World, make_world, money

NAME = "service_desk"
DOMAIN = "refunds"
SEEDS: Mapping[Split, range] = {
    "train": range(10_000, 10_128),
    "validation": range(20_000, 20_024),
    "test": range(30_000, 30_040),
}
"""Apart, so that the splits are; a test proves that no two worlds are the same."""


def tasks(split: Split) -> list[Task]:
    """The tasks of a split, in the order of their seeds."""
    return [make_task(seed) for seed in SEEDS[split]]


def make_task(seed: int) -> Task:
    """The task of a seed; any whole number from 0 on gives one."""
    world = make_world(seed)
    return Task(f"{DOMAIN}-{seed}", NAME, {"domain": DOMAIN, "seed": seed}, target(world))


def target(world: World) -> dict[str, object]:
    """What must hold at the end: every record that must have been written, no other, and the answer."""
    order, method = world.orders[0], world.script.final_method
    verdict = judge(order)
    state: State = {"tickets": {}, "refunds": {}, "escalations": {}}
    answer = {"resolution": "denied", "refund_amount": "0.00", "refund_method": "none", "reference": "none"}
    if verdict.resolution == "refunded":
        paid = {
            "refund_amount": money(verdict.refund_cents),
            "refund_method": method,
            "reference": order.refund_reference,
        }
        state["refunds"][order.order_id] = paid
        answer = {"resolution": "refunded", **paid}
    if verdict.resolution == "escalated":
        handed = {"refund_method": method, "reference": world.escalation_reference}
        state["escalations"][world.ticket_id] = {"order_id": order.order_id, **handed}
        answer = {"resolution": "escalated", "refund_amount": "0.00", **handed}
    state["tickets"][world.ticket_id] = {"status": "closed", **answer}
    return {"state": state, "answer": answer}
