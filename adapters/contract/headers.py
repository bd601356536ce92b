"""The two headers that bind a Job Runtime call to one rollout (botocore: sagemakerjobruntime)."""

JOB_ARN_HEADER = "X-Amzn-SageMaker-Job-Arn"
TRAJECTORY_HEADER = "X-Amzn-SageMaker-Trajectory-Id"
BEARER_PREFIX = "sagemaker-api-key-"
"""What every bearer token of the service starts with; the rest is a base64 presigned URL."""
SIGNING_NAME = "sagemaker"
