"""Kubernetes objects of the EKS target as plain dictionaries: no CDK here, so they are tested alone."""
