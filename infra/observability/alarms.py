"""The table of alarms. Each says what is the matter, and has a page in docs/runbooks.

Rates are averages over a quarter of an hour of metrics that are 0 or 1 for each rollout. What cannot be told
apart from a single rollout (a refusal, a dead letter, a disagreement) needs no rate: one is enough.
"""

from infra.names import Names
from infra.observability.alarm import DAY, MINUTE, TEN_SECONDS, Alarm
from infra.observability.series import deployment, forwarder, queue, refusals, rollouts
from infra.settings import Deployment

QUARTER = 15 * 60
FIVE_MINUTES = 5 * 60
COLD_START_MINUTES = 4
"""What the first worker takes to come up where none is kept."""
FAILED_SHARE, TOKEN_CAP_SHARE, TURNS_EXHAUSTED_SHARE = 0.01, 0.05, 0.10
"""The service's own rules of thumb."""
IMPUTED_SHARE, TEXT_TOOL_CALLS_SHARE = 0.01, 0.05
"""Ours: such a reward says nothing, and such calls are the beginning of a collapse."""


def alarms(settings: Deployment) -> list[Alarm]:
    """Of one deployment: those of the queue only where there is one."""
    names = Names(settings)
    found = [*_rollouts(names), *_rewards(names), *_jobs(names)]
    return [*_forwarder(names), *_queue(names), *found] if settings.queued else found


def _forwarder(names: Names) -> list[Alarm]:
    return [
        Alarm(
            id="forwarder-errors",
            series=forwarder(names, "Errors"),
            statistic="Sum",
            threshold=0,
            says="The forwarder crashed or ran into its timeout: a rollout may not have reached the queue.",
        ),
        Alarm(
            id="forwarder-refusals",
            series=refusals(names),
            statistic="Sum",
            threshold=0,
            says="The forwarder answered a rollout request with an error instead of queueing it.",
        ),
        Alarm(
            id="forwarder-throttles",
            series=forwarder(names, "Throttles"),
            statistic="Sum",
            threshold=0,
            says="Lambda had no concurrency left for the forwarder: the service's calls were turned away.",
        ),
    ]


def _queue(names: Names) -> list[Alarm]:
    return [
        Alarm(
            id="dead-letters",
            series=queue("ApproximateNumberOfMessagesVisible", names.dead_letters),
            statistic="Maximum",
            threshold=0,
            says="A rollout was given up for good and lies in the dead-letter queue.",
        ),
        Alarm(
            id="oldest-message",
            series=queue("ApproximateAgeOfOldestMessage", names.queue),
            statistic="Maximum",
            threshold=names.settings.oldest_message_seconds,
            says=f"A rollout is not finished after {names.settings.oldest_message_seconds} s, "
            f"waiting and playing together; its budget is {names.settings.adapter.budget_seconds} s.",
        ),
        _work_waiting(names),
    ]


def _work_waiting(names: Names) -> Alarm:
    """Quick gauges leave some periods without a figure; their silence raises reward-variance-gone instead."""
    settings = names.settings
    quick = settings.quick_gauges
    return Alarm(
        id="work-waiting",
        series=deployment(names, "WaitingWithoutWorker"),
        statistic="Maximum",
        threshold=0,
        seconds=TEN_SECONDS if quick else MINUTE,
        periods=1 if settings.keeps_a_worker else COLD_START_MINUTES,
        silence="nothing" if quick else "trouble",
        says="Rollouts wait, and no worker has one in hand"
        + ("." if quick else "; or the gauges are silent."),
    )


def _rollouts(names: Names) -> list[Alarm]:
    def share(id_: str, metric: str, threshold: float, says: str) -> Alarm:
        series = rollouts(names, metric)
        return Alarm(
            id=id_, series=series, statistic="Average", threshold=threshold, seconds=QUARTER, says=says
        )

    return [
        share(
            "rollouts-failed",
            "Failed",
            FAILED_SHARE,
            f"More than {FAILED_SHARE:.0%} of the rollouts ended without a reward; each can cost the job.",
        ),
        share(
            "token-cap",
            "TokenCapHits",
            TOKEN_CAP_SHARE,
            f"More than {TOKEN_CAP_SHARE:.0%} of the rollouts were cut by sampling_max_tokens.",
        ),
        share(
            "turns-exhausted",
            "TurnsExhausted",
            TURNS_EXHAUSTED_SHARE,
            f"More than {TURNS_EXHAUSTED_SHARE:.0%} of the rollouts used up max_turns without an answer.",
        ),
        share(
            "text-tool-calls",
            "TextToolCalls",
            TEXT_TOOL_CALLS_SHARE,
            "The policy writes tool calls as text: its tool-call format is eroding.",
        ),
    ]


def _rewards(names: Names) -> list[Alarm]:
    return [
        Alarm(
            id="rewards-imputed",
            series=rollouts(names, "Imputed"),
            statistic="Average",
            threshold=IMPUTED_SHARE,
            seconds=QUARTER,
            says=f"More than {IMPUTED_SHARE:.0%} of the rewards are the substitute, because grading failed.",
        ),
        Alarm(
            id="reward-score-disagreement",
            series=rollouts(names, "RewardScoreDisagreement"),
            statistic="Sum",
            threshold=0,
            seconds=FIVE_MINUTES,
            says="A rollout got the full reward and a score of 0: the reward may be hacked.",
        ),
        Alarm(
            id="reward-variance-gone",
            series=deployment(names, "FlatRewards"),
            statistic="Maximum",
            threshold=0,
            periods=5,
            silence="trouble",
            says="All rollouts of the last quarter of an hour got the same reward: nothing can be learned "
            "from them; or the gauges are silent.",
        ),
    ]


def _jobs(names: Names) -> list[Alarm]:
    watched = names.settings.observability
    found = [
        Alarm(
            id="job-failed",
            series=deployment(names, "JobFailed"),
            statistic="Sum",
            threshold=0,
            seconds=FIVE_MINUTES,
            says="A job of this deployment failed.",
        ),
        Alarm(
            id="job-stopped",
            series=deployment(names, "JobStopped"),
            statistic="Sum",
            threshold=0,
            seconds=FIVE_MINUTES,
            says="A job of this deployment was stopped.",
        ),
        Alarm(
            id="job-stalled",
            series=deployment(names, "JobStalled"),
            statistic="Maximum",
            threshold=0,
            periods=5,
            silence="trouble",
            says=f"A job has made no progress for {watched.stall_minutes} min; or the job watcher is silent.",
        ),
    ]
    if watched.daily_token_budget is not None:
        found.append(_token_spend(names, watched.daily_token_budget))
    return found


def _token_spend(names: Names, budget: int) -> Alarm:
    return Alarm(
        id="token-spend",
        series=deployment(names, "BillableTokens"),
        statistic="Sum",
        threshold=budget,
        seconds=DAY,
        says=f"Jobs used more than the {budget} billable tokens that one day may cost.",
    )
