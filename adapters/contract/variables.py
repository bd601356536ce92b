"""The environment variables of an adapter: one name, one meaning, and who needs it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    default: str | None
    """None: required by the entrypoints in `required_by`, otherwise unset."""
    meaning: str
    required_by: tuple[str, ...] = ()


VARIABLES: tuple[Variable, ...] = (
    Variable("MTRL_ENVIRONMENT", None, "the environment to serve, by entry-point name", ("http", "queue")),
    Variable("MTRL_LOOP", "tools", "the agent loop, by entry-point name"),
    Variable("AWS_REGION", None, "the Region this process serves", ("http", "queue")),
    Variable("MTRL_ACCOUNT_ID", None, "the account this process serves; jobs of others are refused"),
    Variable("MTRL_JOB_NAME_PREFIX", "", "jobs whose name starts otherwise are refused"),
    Variable("MTRL_JOB_RUNTIME_ENDPOINT", None, "Job Runtime URL; default: the Region's documented one"),
    Variable("MTRL_AUTH", "bearer", "how Job Runtime calls are authenticated: bearer or sigv4"),
    Variable("MTRL_MAX_CONCURRENCY", "96", "rollouts at once; beyond it a caller is told to come back"),
    Variable("MTRL_ROLLOUT_BUDGET_SECONDS", "600", "from received_at to the service's own timeout"),
    Variable("MTRL_ROLLOUT_MARGIN_SECONDS", "15", "kept back from the budget to grade, seal and reward"),
    Variable("MTRL_SAMPLE_TIMEOUT_SECONDS", "120", "one Sample request"),
    Variable("MTRL_UNCERTAIN_RETRIES", "1", "retries of a Sample whose outcome is unknown"),
    Variable("MTRL_MAX_TOOL_CALLS", "64", "tool calls in one episode"),
    Variable("MTRL_TOOL_TIMEOUT_SECONDS", "30", "one tool call"),
    Variable("MTRL_TOOL_RESULT_CHARS", "16000", "longer tool results are cut with a visible marker"),
    Variable("MTRL_CONTEXT_TOKENS", None, "the model's context; checked against the turn budget at start"),
    Variable("MTRL_REWARDS", "episode", "what UpdateReward carries: one value per episode, or per turn"),
    Variable("MTRL_TEXT_TOOL_CALL_PENALTY", "0.05", "taken off the reward for each call written as text"),
    Variable("MTRL_FAULT_REWARD", "0", "the reward sent when grading itself raises"),
    Variable("MTRL_SYNC_LIMIT_SECONDS", "840", "after this an HTTP caller is answered while work goes on"),
    Variable("MTRL_DRAIN_SECONDS", "105", "from SIGTERM to exit"),
    Variable("MTRL_MAX_ATTEMPTS", "5", "claims on one rollout before it is given up as poison"),
    Variable("MTRL_ON_CRASH", "fail", "a worker died while sampling: fail (seal it), leave it, or resume it"),
    Variable("MTRL_QUEUE_URL", None, "the queue that the forwarder fills", ("queue",)),
    Variable("MTRL_DEAD_LETTER_URL", None, "the queue for what can never be worked on", ("queue",)),
    Variable(
        "MTRL_LEDGER_TABLE",
        None,
        "the DynamoDB table of the rollout ledger; http: may do without",
        ("queue",),
    ),
    Variable("MTRL_CLAIM_CHECK_BUCKET", None, "where the forwarder puts requests too large for the queue"),
    Variable(
        "MTRL_ROLLOUT_LOG_BUCKET", None, "where the logs of unfinished rollouts go; else they are sealed"
    ),
    Variable("MTRL_HEALTH_FILE", None, "a file whose time is renewed while the queue worker is well"),
    Variable("MTRL_SEAL_KEYS", None, "keys of sealed targets: file:PATH, secretsmanager:ARN or kms:PATH"),
    Variable("MTRL_ARCHIVE_DIR", None, "folder for transcripts of evaluations and of disagreements"),
    Variable("MTRL_ARCHIVE_BUCKET", None, "bucket for the same; goes before the folder"),
    Variable("MTRL_METRICS_NAMESPACE", "mtrl-kit", "CloudWatch namespace of the EMF metrics"),
    Variable("MTRL_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR"),
    Variable("HOST", "0.0.0.0", "address to listen on"),  # noqa: S104 - a container's own interface
    Variable("PORT", "8080", "port to listen on; 0 picks a free one"),
)

BY_NAME = {variable.name: variable for variable in VARIABLES}
