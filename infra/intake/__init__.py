"""Where rollouts come in on queue targets: the forwarder function, its queue, the dead letters."""

from infra.intake.intake import Intake as Intake
