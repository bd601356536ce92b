"""What the stand-in speaks: AWS JSON 1.1 for the control plane, REST-JSON for the Job Runtime."""
