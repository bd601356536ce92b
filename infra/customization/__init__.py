"""The SageMaker side: where models go, who runs jobs and who starts them, and what a job is started with."""

from infra.customization.customization import Customization as Customization
