"""Benchmarks: every claim of speed comes from here, next to a peer in the same run."""
