"""Policies on held-out tasks: what `mtrl evaluate` does. The numbers are explained in docs/evaluation.md."""
