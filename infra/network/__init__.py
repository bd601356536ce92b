"""The VPC of adapter and job, created or adopted, with the only ways in and out of it."""

from infra.network.network import Network as Network
