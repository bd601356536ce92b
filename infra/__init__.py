"""The deployment, as CDK code: settings, stacks and their parts. Only app.py and tests import it."""
