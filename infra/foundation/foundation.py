"""Assembles the foundation: what the other stacks get is an interface, created or adopted."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.foundation.buckets import buckets
from infra.foundation.key import key
from infra.names import Names
from infra.policy.acknowledgments import HIPAA, NIST, acknowledge_in
from infra.removal import removal
from infra.settings import Deployment


class Foundation(Construct):
    """Key, buckets, topic and ledger of one deployment."""

    def __init__(self, scope: Construct, *, settings: Deployment) -> None:
        super().__init__(scope, "Foundation")
        self.key = key(self, settings)
        buckets(self, settings, self.key)
        self.topic = _topic(self, settings, self.key)
        others = self.node.children
        self.ledger = _ledger(self, settings, self.key)
        # Last: deletion protection would not let it go when something else could not be created.
        self.ledger.node.add_dependency(*others)


def _topic(scope: Construct, settings: Deployment, key: kms.IKey) -> sns.ITopic:
    if settings.foundation.topic_arn is not None:
        return sns.Topic.from_topic_arn(scope, "Topic", settings.foundation.topic_arn)
    topic = sns.Topic(
        scope,
        "Topic",
        topic_name=Names(settings).topic_arn.rsplit(":", 1)[1],
        master_key=key,
        enforce_ssl=True,
    )
    # A topic with a policy of its own has lost the default one, which let the account's alarms in.
    topic.add_to_resource_policy(alarms_may_publish(settings, topic.topic_arn))
    for address in settings.observability.alarm_emails:
        sns.Subscription(
            scope, f"To{address}", topic=topic, protocol=sns.SubscriptionProtocol.EMAIL, endpoint=address
        )
    return topic


def alarms_may_publish(settings: Deployment, topic_arn: str) -> iam.PolicyStatement:
    """An adopted topic needs it as well (docs/security.md)."""
    return iam.PolicyStatement(
        sid="Alarms",
        principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
        actions=["sns:Publish"],
        resources=[topic_arn],
        conditions={"StringEquals": {"aws:SourceAccount": settings.account}},
    )


def _ledger(scope: Construct, settings: Deployment, key: kms.IKey) -> dynamodb.ITable:
    """One item a rollout: its lease, its outcome, its attempts; gone a while after the job."""
    name = settings.foundation.ledger_table
    if name is not None:
        return dynamodb.Table.from_table_name(scope, "Ledger", name)
    table = dynamodb.Table(
        scope,
        "Ledger",
        table_name=Names(settings).ledger,
        partition_key=dynamodb.Attribute(name="rollout", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=key,
        time_to_live_attribute="expires_on",
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=settings.protect,
        removal_policy=removal(settings),
    )
    acknowledge_in(
        table,
        "Its items are leases and outcomes of rollouts, worthless after their job; point-in-time recovery "
        "covers the job's life.",
        "DynamoDBInBackupPlan",
        (NIST, HIPAA),
    )
    return table
