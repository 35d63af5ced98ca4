"""What a user can put right about a series of runs."""


class SeriesError(Exception):
    """Something the user can put right; the message says what."""
