"""`mtrl deploy-local` in parts: emulator, CDK, container definition, job, and the order of things."""
