"""The tiny policy: a small stochastic policy that learns in seconds on a CPU. It is no language model.

It sees only what a model would see, the chat request, and reads it the way a program would. What it learns
is when to call which tool, with which known values, what to ask for, when to answer, and how to write it.
"""

from rehearsal.policies.tiny.policy import TinyPolicy

__all__ = ["TinyPolicy"]
