"""Plays scripts in real episodes of an environment, and keeps what they were worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.contract import Environment, Message, Policy, RewardTerms, Task, Transcript
from mtrl.playing import play
from mtrl.probing.operators import Setting, Subject
from mtrl.probing.script import Script, ScriptedPolicy, script_of


@dataclass(frozen=True, slots=True)
class Trial:
    """A script as it was played, and its grades."""

    task: Task
    script: Script
    transcript: Transcript
    reward: float
    score: float
    ungraded: bool = False
    """Reward or score raised, or the reward is outside of [-1, 1]. In a rollout it is imputed then, so that
    there is none to be had by it."""

    @property
    def messages(self) -> Sequence[Message]:
        """What was said after the opening."""
        return self.transcript.messages[len(self.transcript.opening) :]

    def subject(self, setting: Setting) -> Subject:
        """The trial as operators edit it."""
        return Subject(self.script, setting, [call.result.content for call in self.transcript.calls])


class Arena:
    """One environment, and the trials that were held in it."""

    def __init__(self, environment: Environment, terms: RewardTerms) -> None:
        self.environment = environment
        self.terms = terms
        self.played = 0
        self.faults: dict[str, int] = {}
        """What the environment broke, in words, and how often."""

    async def play(self, task: Task, script: Script) -> Trial:
        """Play a script as far as the episode lets it."""
        return await self.perform(task, ScriptedPolicy(script), script)

    async def perform(self, task: Task, policy: Policy, script: Script | None = None) -> Trial:
        """Let any policy play; the trial's script is what it did, unless it is given."""
        played = await play(self.environment, task, policy)
        self.played += 1
        for fault in played.faults:
            self.faults[fault] = self.faults.get(fault, 0) + 1
        return Trial(
            task,
            script_of(played.transcript) if script is None else script,
            played.transcript,
            reward=played.reward.value if played.reward else 0.0,
            score=played.score.value if played.score else 0.0,
            ungraded=played.reported is None or played.score is None,
        )
