"""What a deployment costs in a month without a job: counts of what bills by the hour or month, times prices.

    python -m infra.idle_cost      renews docs/deployment.md between its marks; a test compares the two

The counts are those of the settings and of the modules that make the resources; a test holds them against the
templates. Traffic, log lines and requests are left out: they come with jobs.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from pydantic import ValidationError

from infra.context import TARGETS, context_of, load
from infra.network.endpoints import interface_services
from infra.observability.alarms import alarms
from infra.settings import Deployment
from infra.settings_table import DOCUMENT, between
from infra.target_settings import AgentCore, Ec2, Eks, Fargate

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- idle cost: begin -->", "<!-- idle cost: end -->"
HOURS = 730
STAND_IN_ACCOUNT = "111111111111"
EKS_NODE, EKS_NODE_GB = "t4g.medium", 40
GAUGES, QUEUE_GAUGES, DETAILED = 3, 1, 7
"""Metrics of our own without a job (FlatRewards, JobsRunning, JobStalled; WaitingWithoutWorker), and what an
instance with detailed monitoring publishes."""
GAUGE_GB, GAUGE_SECONDS_A_MINUTE, GB_SECOND = 0.25, 41, 0.0000133334
"""Quick gauges: 256 MB for two waits of 20 s and what the calls take; Lambda's price on arm64."""
SCALING_METRICS = 3
"""Of the two scaling alarms: one reads one metric, the other adds two up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A public list price of us-west-2, in dollars."""

    what: str
    dollars: float
    unit: Literal["hour", "month"]
    source: str
    confirmed: str
    """Where else the figure was read, or that it was not."""

    @property
    def monthly(self) -> float:
        return self.dollars * (HOURS if self.unit == "hour" else 1)


VPC, PRIVATELINK = "https://aws.amazon.com/vpc/pricing/", "https://aws.amazon.com/privatelink/pricing/"
FARGATE, EC2 = "https://aws.amazon.com/fargate/pricing/", "https://aws.amazon.com/ec2/pricing/on-demand/"
EKS, EBS = "https://aws.amazon.com/eks/pricing/", "https://aws.amazon.com/ebs/pricing/"
KMS, WATCH = "https://aws.amazon.com/kms/pricing/", "https://aws.amazon.com/cloudwatch/pricing/"
NETWORK_POST = "factualminds.com, VPC pricing, 2026-06"
MEMORY = "from memory, check"

PRICES = {
    "endpoint": Price(
        what="interface endpoint, a zone",
        dollars=0.01,
        unit="hour",
        source=PRIVATELINK,
        confirmed=NETWORK_POST,
    ),
    "nat": Price(
        what="NAT gateway",
        dollars=0.045,
        unit="hour",
        source=VPC,
        confirmed="aws-samples, cost model of sample-autonomous-cloud-coding-agents (about $32 a month)",
    ),
    "address": Price(
        what="public IPv4 address, one a NAT gateway",
        dollars=0.005,
        unit="hour",
        source=VPC,
        confirmed=f"{NETWORK_POST} ($3.60 a month)",
    ),
    "vcpu": Price(
        what="Fargate Linux/ARM vCPU",
        dollars=0.03238,
        unit="hour",
        source=FARGATE,
        confirmed="vantage.sh, Fargate pricing (us-east-1)",
    ),
    "gb": Price(
        what="Fargate Linux/ARM GB of memory",
        dollars=0.00356,
        unit="hour",
        source=FARGATE,
        confirmed="vantage.sh, Fargate pricing (us-east-1)",
    ),
    "t4g.small": Price(
        what="EC2 t4g.small, Linux, on demand", dollars=0.0168, unit="hour", source=EC2, confirmed=MEMORY
    ),
    EKS_NODE: Price(
        what=f"EC2 {EKS_NODE}, Linux, on demand", dollars=0.0336, unit="hour", source=EC2, confirmed=MEMORY
    ),
    "auto": Price(
        what=f"EKS Auto Mode's fee for a {EKS_NODE}",
        dollars=0.00403,
        unit="hour",
        source=EKS,
        confirmed="12 % of the instance: factualminds.com, EKS pricing, 2026-06",
    ),
    "cluster": Price(
        what="EKS cluster, standard support",
        dollars=0.10,
        unit="hour",
        source=EKS,
        confirmed="cloudburn.io, EKS pricing, 2026-03",
    ),
    "volume": Price(what="gp3 volume, a GB", dollars=0.08, unit="month", source=EBS, confirmed=MEMORY),
    "key": Price(
        what="KMS key; the first two rotations add as much each",
        dollars=1.0,
        unit="month",
        source=KMS,
        confirmed="read on the page itself",
    ),
    "alarm": Price(
        what="metric that an alarm reads",
        dollars=0.10,
        unit="month",
        source=WATCH,
        confirmed="c3x.dev, aws_cloudwatch_metric_alarm",
    ),
    "quick_alarm": Price(
        what="metric that an alarm reads every 10 s",
        dollars=0.30,
        unit="month",
        source=WATCH,
        confirmed=MEMORY,
    ),
    "quick_gauges": Price(
        what=f"quick gauges: Lambda on arm64, {GAUGE_GB} GB, {GAUGE_SECONDS_A_MINUTE} s a minute",
        dollars=round(GAUGE_GB * GAUGE_SECONDS_A_MINUTE * 60 * GB_SECOND, 4),
        unit="hour",
        source="https://aws.amazon.com/lambda/pricing/",
        confirmed=f"{MEMORY}: ${GB_SECOND:.10f} a GB-second",
    ),
    "metric": Price(
        what="custom metric that is published", dollars=0.30, unit="month", source=WATCH, confirmed=MEMORY
    ),
    "dashboard": Price(what="dashboard", dollars=3.0, unit="month", source=WATCH, confirmed=MEMORY),
}

Counts = Mapping[str, float]
"""How many of each price."""


def network(settings: Deployment) -> dict[str, float]:
    """Of a created VPC; an adopted one is billed to its owner."""
    if settings.network.vpc_id is not None:
        return {}
    gateways = settings.network.nat_gateways if settings.network.egress == "nat" else 0
    services = len(interface_services(settings)) if settings.network.interface_endpoints else 0
    return {"endpoint": services * len(set(settings.zones)), "nat": gateways, "address": gateways}


def workers(settings: Deployment) -> dict[str, float]:
    """The `workers.min` that are kept; on EKS a node each, of the cheapest type that has room for one."""
    target = settings.target
    match target:
        case Fargate():
            kept = target.workers.min
            return {"vcpu": kept * target.cpu / 1024, "gb": kept * target.memory_mb / 1024}
        case Ec2():
            kept = target.workers.min
            return {
                target.instance_types[0]: kept,
                "volume": kept * target.volume_gb,
                "metric": kept * DETAILED,
            }
        case Eks():
            kept = max(1, target.workers.min)
            return {EKS_NODE: kept, "auto": kept, "volume": kept * EKS_NODE_GB}
        case AgentCore():
            return {}
        case _:
            assert_never(target)


def watching(settings: Deployment) -> dict[str, float]:
    """Key, alarms, dashboard and the metrics that tick without a job; on EKS the cluster too."""
    scaled = isinstance(settings.target, Fargate | Ec2)
    quick = int(settings.quick_gauges)
    created = isinstance(settings.target, Eks) and settings.target.cluster_name is None
    return {
        "key": 0 if settings.foundation.key_arn else 1,
        "alarm": len(alarms(settings)) + (SCALING_METRICS if scaled else 0) - quick,
        "quick_alarm": quick,
        "quick_gauges": quick,
        "dashboard": 1,
        "metric": GAUGES + (QUEUE_GAUGES if settings.queued else 0),
        "cluster": 1 if created else 0,
    }


def cost(counts: Counts) -> float:
    return sum(count * PRICES[name].monthly for name, count in counts.items())


def total(settings: Deployment) -> float:
    return cost(network(settings)) + cost(workers(settings)) + cost(watching(settings))


def with_network(settings: Deployment, **changes: object) -> Deployment | None:
    """The deployment with other network settings; None if they are refused."""
    data = settings.model_dump()
    data["network"] |= changes
    try:
        return Deployment.model_validate(data)
    except ValidationError:
        return None


def row(settings: Deployment) -> str:
    """A line of the table: counts, the three parts, and the totals of other ways out."""
    made, kept = network(settings), workers(settings)
    bare = with_network(settings, egress="nat", interface_endpoints=False)
    ipv6 = with_network(settings, egress="ipv6_egress_only")
    figures = [cost(made), cost(kept), cost(watching(settings)), total(settings)]
    cells = [f"{settings.env}, {settings.target.kind}"]
    cells += [
        f"{made['endpoint']:g}",
        f"{made['nat']:g}",
        f"{watching(settings)['alarm'] + watching(settings)['quick_alarm']:g}",
    ]
    cells += [f"{figure:.0f}" for figure in figures]
    cells += [f"{total(other):.0f}" if other is not None else "refused" for other in (bare, ipv6)]
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """Prices with their sources, and every shipped deployment."""
    prices = ["| price of | $ | per | page | also read |", "|---|---|---|---|---|"]
    prices += [
        f"| {each.what} | {each.dollars:g} | {each.unit} | {each.source} | {each.confirmed} |"
        for each in PRICES.values()
    ]
    head = (
        "| deployment | endpoints x zones | NAT gateways | alarm metrics | network $ | workers $ | rest $ "
        "| **total $** | total, nat, no endpoints | total, ipv6_egress_only |"
    )
    rows = [head, f"|{'---|' * 10}", *(row(settings) for settings in shipped())]
    return "\n".join([*rows, "", *prices])


def shipped() -> list[Deployment]:
    """Every environment of cdk.json on every target."""
    context = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    chosen = [(env, target) for env in context["environments"] for target in TARGETS]
    return [load(context_of(env, target, "sop").get, ROOT, STAND_IN_ACCOUNT) for env, target in chosen]


def main() -> None:
    """Renew the document."""
    argparse.ArgumentParser(prog="python -m infra.idle_cost", description=__doc__).parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(between(text, BEGIN, END, tables()), encoding="utf-8")


if __name__ == "__main__":
    main()
