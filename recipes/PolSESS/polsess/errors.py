"""The error for a user's mistake."""


class UserError(ValueError):
    """A mistake that the user can correct; the message says how."""
