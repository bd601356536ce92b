"""Stops the worker before its instance is taken away, and tells the Auto Scaling group when it is gone.

    python3.12 drain.py --region R --group NAME --hook NAME --stop-seconds N

Two things announce the end in the instance's metadata: the group wants it terminated (for a deployment or for
scaling in), or Spot takes it back in two minutes. Either way `systemctl stop` drains the worker, which takes
`--stop-seconds` at most. Standard library and the AWS command line only: it runs on a bare Amazon Linux.
"""

import argparse
import subprocess
import sys
import time
import urllib.error
import urllib.request

METADATA = "http://169.254.169.254"
POLL_SECONDS = 5.0
TOKEN_SECONDS = 600
REQUEST_SECONDS = 2.0
UNIT = "mtrl-adapter.service"
GONE = ("Terminated", "Terminating:Wait")


class Metadata:
    """The instance's metadata service, version 2: every question carries a short-lived token."""

    def __init__(self, url: str = METADATA) -> None:
        self._url = url
        self._token = ""
        self._asked_at = float("-inf")

    def get(self, path: str) -> str | None:
        """The text at a path; None if there is none, or the service cannot be reached just now."""
        try:
            headers = {"X-aws-ec2-metadata-token": self._fresh_token()}
            request = urllib.request.Request(f"{self._url}/latest/{path}", headers=headers)  # noqa: S310
            return self._ask(request)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._asked_at = float("-inf")
            return None
        except OSError:
            return None

    def _fresh_token(self) -> str:
        if time.monotonic() - self._asked_at > TOKEN_SECONDS / 2:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            url = f"{self._url}/latest/api/token"
            request = urllib.request.Request(url, method="PUT", headers=headers)  # noqa: S310
            self._token = self._ask(request)
            self._asked_at = time.monotonic()
        return self._token

    def _ask(self, request: urllib.request.Request) -> str:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text


def ending(metadata: Metadata) -> str | None:
    """Why the instance is about to end, if it is."""
    if metadata.get("meta-data/autoscaling/target-lifecycle-state") in GONE:
        return "autoscaling"
    if metadata.get("meta-data/spot/instance-action"):
        return "spot"
    return None


def drain(metadata: Metadata, arguments: argparse.Namespace, why: str) -> None:
    """Stop the worker, then let the group go on. Either failing must not keep the other from happening."""
    say(f"draining: {why}")
    instance = metadata.get("meta-data/instance-id") or "unknown"
    try:
        command = ["systemctl", "stop", UNIT]
        subprocess.run(command, timeout=arguments.stop_seconds, check=False)  # noqa: S603
        say("stopped")
    except subprocess.TimeoutExpired:
        say(f"still running after {arguments.stop_seconds} s")
    complete = ["aws", "autoscaling", "complete-lifecycle-action", "--region", arguments.region]
    complete += ["--auto-scaling-group-name", arguments.group, "--lifecycle-hook-name", arguments.hook]
    complete += ["--instance-id", instance, "--lifecycle-action-result", "CONTINUE"]
    # Where Spot takes the instance by itself, there is no action to complete: that is no error.
    done = subprocess.run(complete, timeout=60, check=False, capture_output=True, text=True)  # noqa: S603
    say("completed" if done.returncode == 0 else f"not completed: {done.stderr.strip()[:300]}")


def say(text: str) -> None:
    sys.stdout.write(f"drain: {text}\n")
    sys.stdout.flush()


def main() -> None:
    """Watch until the end is announced; drain once; then wait to be terminated."""
    parser = argparse.ArgumentParser(description="Stops the worker before its instance is taken away.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--hook", required=True)
    parser.add_argument("--stop-seconds", type=float, required=True)
    parser.add_argument("--metadata", default=METADATA, help="for tests")
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    arguments = parser.parse_args()
    metadata = Metadata(arguments.metadata)
    while (why := ending(metadata)) is None:
        time.sleep(arguments.poll_seconds)
    drain(metadata, arguments, why)


if __name__ == "__main__":
    main()
