"""What becomes of a resource that holds data, or keeps its name, when its stack lets go of it."""

import aws_cdk as cdk

from infra.settings import Deployment


def removal(settings: Deployment) -> cdk.RemovalPolicy:
    """It stays in a protected environment; elsewhere it goes.

    But not after a creation that failed: it is empty then, and its name would be taken for the next attempt.
    """
    return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if settings.protect else cdk.RemovalPolicy.DESTROY
