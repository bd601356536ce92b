"""What is watched: alarms with runbooks, the dashboard, the job watcher and the gauges."""

from infra.observability.observability import Observability as Observability
