"""Conversations that tools/make_conversations.py makes."""

import io
from contextlib import redirect_stdout

from make_conversations import main


def make(folder, *arguments):
    """Make conversations in this process; return what is printed."""
    with redirect_stdout(io.StringIO()) as printed:
        main([str(folder), *map(str, arguments)])
    return printed.getvalue()
