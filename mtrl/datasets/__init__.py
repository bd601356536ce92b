"""Data sets of tasks: built, split, sealed, opened and checked before a job sees them.

All of it is offline but for data and keys that lie on AWS. What the service asks of a data set is in
docs/datasets.md.
"""
