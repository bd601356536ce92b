"""EKS: Pods that pull from the queue, in a cluster that is created or adopted. Nothing listens.

What is applied to the cluster is made in infra/targets/kubernetes; here it gets its identities and its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from infra.log_group import log_group
from infra.packaging.stage import HEALTH_COMMAND, QUEUE_COMMAND
from infra.policy.roles import role
from infra.policy.statements import allow
from infra.policy.worker import worker_statements, worker_wildcards
from infra.target_settings import Eks
from infra.targets.contract import Agent, Site
from infra.targets.eks_cluster import Ground, ground
from infra.targets.eks_nodes import nodes
from infra.targets.image import image
from infra.targets.kubernetes import logs, scaling
from infra.targets.kubernetes.crews import Crew, crews
from infra.targets.kubernetes.nodes import CAPACITY_LABEL
from infra.targets.kubernetes.objects import (
    ADAPTER,
    Manifest,
    Place,
    closed,
    namespace,
    service_account,
)
from infra.targets.kubernetes.workload import Workload, deployment, disruption_budget
from infra.targets.variables import queue_worker

CHART_TIMEOUT = cdk.Duration.minutes(10)
"""The first nodes come up in between."""


def place(scope: Construct, site: Site, target: Eks) -> Agent:
    """Cluster, nodes, log shipping, KEDA, and the crews of workers."""
    here = Place(name=site.settings.name, namespace=target.namespace or site.settings.name)
    base = ground(scope, site, target)
    there = nodes(scope, site, target, base, here)
    build = Build(scope=scope, site=site, target=target, base=base, place=here)
    home = build.home(build.shipping(there))
    before = [home, *there]
    found = crews(target.workers, site.settings.adapter.max_concurrency)
    if not all(crew.fixed for crew in found):
        before.append(build.scaling(home, there))
    workload = build.workload()
    for crew in found:
        build.apply(crew.name, build.crew(workload, crew), before)
    return Agent(forwarder_arn=site.names.function_arn("forwarder"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is applied to the cluster, with its identities and in its order."""

    scope: Construct
    site: Site
    target: Eks
    base: Ground
    place: Place

    def apply(
        self, id_: str, manifests: Sequence[Manifest], after: Sequence[IDependable] = ()
    ) -> eks.KubernetesManifest:
        """A custom resource a unit: what is no longer named is deleted by CloudFormation."""
        made = eks.KubernetesManifest(
            self.scope, id_, cluster=self.base.handle, manifest=list(manifests), overwrite=True
        )
        made.node.add_dependency(*self.base.ready, *after)
        return made

    def identity(self, id_: str, made: iam.IRole, account: str, namespace: str) -> IDependable:
        """A role for the Pods of a service account. Pods that start before it go without."""
        association = eks.CfnPodIdentityAssociation(
            self.scope,
            id_,
            cluster_name=self.base.name,
            namespace=namespace,
            service_account=account,
            role_arn=made.role_arn,
        )
        association.node.add_dependency(*self.base.ready)
        return association

    def pods(self, account: str, namespace: str) -> iam.IPrincipal:
        """The Pods of one service account in this cluster, and nobody else."""
        trusted = {
            "aws:SourceAccount": self.site.settings.account,
            "aws:RequestTag/eks-cluster-arn": self.base.arn,
            "aws:RequestTag/kubernetes-namespace": namespace,
            "aws:RequestTag/kubernetes-service-account": account,
        }
        return iam.ServicePrincipal(
            "pods.eks.amazonaws.com", conditions={"StringEquals": trusted}
        ).with_session_tags()

    def home(self, shipping: IDependable) -> IDependable:
        """Namespace, identity and bounds of the adapter; gone, with the last Pod, before `shipping` goes."""
        names, where = self.site.names, self.place.namespace
        made = role(
            self.scope,
            "AdapterRole",
            trusted=self.pods(ADAPTER, where),
            description=f"What the adapter of {self.site.settings.name} may do",
            statements=worker_statements(names, self.site.key.key_arn),
            wildcards=worker_wildcards(names),
        ).without_policy_updates()
        identity = self.identity("AdapterIdentity", made, ADAPTER, where)
        bounds = [namespace(where, "restricted"), service_account(ADAPTER, where), closed(where)]
        return self.apply("Home", [*bounds, disruption_budget(self.place)], [identity, shipping])

    def shipping(self, there: Sequence[IDependable]) -> IDependable:
        """The adapter's log group, and what sends its lines there."""
        names, where = self.site.names, f"{self.place.namespace}-logs"
        group = log_group(
            self.scope, "Logs", name=names.adapter_log_group, settings=self.site.settings, key=self.site.key
        )
        streams = names.arn("logs", f"log-group:{names.adapter_log_group}:*")
        made = role(
            self.scope,
            "ShipperRole",
            trusted=self.pods(logs.SHIPPER, where),
            description=f"Sends the log of the adapter of {self.site.settings.name}",
            statements=[allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [streams])],
            wildcards={streams: "One stream a Pod, in the adapter's own log group."},
        ).without_policy_updates()
        identity = self.identity("ShipperIdentity", made, logs.SHIPPER, where)
        shipping = logs.Shipping(
            place=self.place,
            namespace=where,
            region=self.site.settings.region,
            log_group=names.adapter_log_group,
            image=self.target.log_shipper_image or logs.IMAGE,
        )
        manifests = [
            # It reads the node's log files, which no other level lets it.
            namespace(where, "privileged"),
            service_account(logs.SHIPPER, where),
            closed(where),
            logs.config_map(shipping),
            logs.daemon_set(shipping),
        ]
        return self.apply("Shipping", manifests, [group, identity, *there])

    def scaling(self, home: IDependable, there: Sequence[IDependable]) -> IDependable:
        """KEDA, if it is not there already, and its leave to read the queue's figures."""
        keda = self.target.keda
        adopted = keda.operator_role_arn
        trusted = (
            iam.ArnPrincipal(adopted).with_session_tags()
            if adopted
            else self.pods(keda.service_account, keda.namespace)
        )
        queue = self.site.names.arn("sqs", self.site.names.queue)
        made = role(
            self.scope,
            "ScalerRole",
            trusted=trusted,
            description=f"Reads how many rollouts wait in {self.site.settings.name}",
            statements=[allow("Backlog", ["sqs:GetQueueAttributes"], [queue])],
        ).without_policy_updates()
        chart = [] if adopted else [self.chart(made, there)]
        authentication = scaling.authentication(self.place, made.role_arn if adopted else None)
        return self.apply("Scaling", [authentication], [home, *chart])

    def chart(self, made: iam.IRole, there: Sequence[IDependable]) -> IDependable:
        """KEDA by its own chart, in a namespace of its own."""
        keda = self.target.keda
        where = self.apply("KedaHome", [namespace(keda.namespace, "restricted")])
        identity = self.identity("KedaIdentity", made, keda.service_account, keda.namespace)
        chart = eks.HelmChart(
            self.scope,
            "Keda",
            cluster=self.base.handle,
            repository=keda.chart_repository or scaling.CHART_REPOSITORY,
            chart=scaling.CHART,
            version=scaling.CHART_VERSION,
            release=scaling.CHART,
            namespace=keda.namespace,
            create_namespace=False,
            values=scaling.chart_values(self.place, keda.image_registry, keda.service_account),
            # Its definitions and its webhook must be there when the first object of its kinds comes.
            wait=True,
            timeout=CHART_TIMEOUT,
        )
        chart.node.add_dependency(where, identity, *there)
        return chart

    def workload(self) -> Workload:
        """What every worker is."""
        found = image(self.scope, self.site, command="queue")
        return Workload(
            place=self.place,
            image=found.uri,
            environment=queue_worker(self.site.settings, grace_seconds=self.target.grace_seconds),
            command=QUEUE_COMMAND,
            health_command=HEALTH_COMMAND,
            cpu=self.target.cpu,
            memory=self.target.memory,
            grace_seconds=self.target.grace_seconds,
            capacity_label=CAPACITY_LABEL if self.target.compute == "auto" else None,
        )

    def crew(self, workload: Workload, crew: Crew) -> list[Manifest]:
        """A Deployment, and what scales it."""
        if crew.fixed:
            return [deployment(workload, crew)]
        backlog = scaling.Backlog(
            queue_url=self.site.names.queue_url(self.site.names.queue),
            region=self.site.settings.region,
            idle_seconds=60 * self.target.workers.idle_minutes,
        )
        return [deployment(workload, crew), scaling.scaled(self.place, backlog, crew)]
