"""Evaluation of policies on held-out tasks: what `mtrl evaluate` does. The numbers are in docs/evaluation.md."""
