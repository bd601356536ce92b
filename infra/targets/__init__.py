"""Where the adapter runs: one file a target, one contract, one factory."""
