"""The error for a user's mistake, and its message."""


class UserError(ValueError):
    """A mistake that the user can correct; the message says how."""


def readable(text: str) -> str:
    r"""Write what is no UTF-8 in a file's name as ``\xbf``.

    Example
    -------
    >>> print(readable("\udcc3\udcb3 \udcbf"))
    ó \xbf
    """
    content = text.encode("utf-8", "surrogateescape")
    return content.decode("utf-8", "backslashreplace")


def one_line(error: object) -> str:
    r"""Shorten a library's error message to one line of 300 characters.

    Example
    -------
    >>> one_line(ValueError("sizes differ:\n  2, 3"))
    'sizes differ: 2, 3'
    """
    return " ".join(str(error).split())[:300]
