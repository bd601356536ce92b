"""The search for exploits of a reward: transcripts that it takes for a success and the score does not.

Everything here optimizes against the reward alone; the score is only looked at to tell an exploit from a
right answer. See docs/probe.md.
"""
