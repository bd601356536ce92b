"""The adapter's directory and a target make an asset: a container build, an instance bundle, a code zip.

    stage.py    is pure: it reads the repository and writes one directory
    vendor.py   unpacks third-party packages; needs the network, so it runs before synthesis
    lock.py     pins them, with hashes

Nothing here knows CDK.
"""
