"""The error for a user's mistake."""


class UserError(ValueError):
    """Something the user can put right; the message says what."""
