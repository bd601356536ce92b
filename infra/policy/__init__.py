"""IAM statement builders, and the acknowledged findings of the policy packs."""
