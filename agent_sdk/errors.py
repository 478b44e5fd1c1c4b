"""What can be wrong with what came in."""


class InvalidBody(ValueError):
    """A body that is not a delivery this version can read; it will not get better."""


class CannotOpen(Exception):
    """A delivery that can't be read here and now: a key or package is missing, the gateway could
    not be asked. Another try, after it was mended, may succeed."""
