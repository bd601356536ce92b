"""Other ways to write an agent for the service, each in as few lines as its packages allow.

They are what mtrl-kit is measured against: our own code against public packages, as the packages document
their use. Each runs in a virtual environment of its own, and reads PORT and BENCH_ENDPOINT.
"""
