"""The errors of a rollout, named by the boundary that was crossed.

RolloutError
├── RequestError         the request is malformed: 400, names the field
├── RefusedError         the request is well formed but not for this process: 403, names the field
├── EpisodeOver          the episode has spent its budget: carries the stop reason
├── EnvironmentFault     the environment broke: the episode ends, what was sampled is still graded
├── PolicyUnavailable    the Job Runtime could not be had within the budget
├── SampleRejected       the Job Runtime refused the request itself (400): a retry cannot help
└── TrajectoryGone       the Job Runtime no longer knows, or no longer accepts, the trajectory

A rollout that goes badly is data (a stop reason). These are for what is wrong with the plumbing.
"""

from adapters.contract.stop_reasons import StopReason


class RolloutError(Exception):
    """Base of every error in this tree."""


class RequestError(RolloutError):
    """A field of the request is missing or wrong. `field` is a dotted path such as `metadata.jobArn`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class RefusedError(RequestError):
    """A field asks for another account, Region, job prefix or endpoint than this process serves.

    Raised before anything is signed, so no credential has left the process.
    """


class EpisodeOver(RolloutError):
    """Raised by the policy and the tools when the budget is spent; a loop lets it pass."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class EnvironmentFault(RolloutError):
    """The environment raised where its contract allows no error."""


class PolicyUnavailable(RolloutError):
    """No usable answer from the policy model within the retry and time budget."""


class SampleRejected(RolloutError):
    """The Job Runtime found a Sample itself wrong (400)."""


class TrajectoryGone(RolloutError):
    """The Job Runtime answered 404, or 409 to a state that this process did not write."""
