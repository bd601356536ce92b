"""What a user sees when an adapter cannot be packaged."""


class PackagingError(Exception):
    """The asset cannot be made; says what is wrong and the next act."""
