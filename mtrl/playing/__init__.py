"""Plays episodes in this process: any environment, any policy, no network and no service.

What passes between policy and tools goes through the seams of the runtime itself, so that a transcript
from here is what a worker would have recorded.
"""

from mtrl.playing.episode import TRAINING, Limits, Played, play
from mtrl.playing.policies import base_policy, random_policy, scripted_policy, served

__all__ = [
    "TRAINING",
    "Limits",
    "Played",
    "base_policy",
    "play",
    "random_policy",
    "scripted_policy",
    "served",
]
