"""How a script of this recipe ends."""

import os
import sys
import time
from collections.abc import Callable

from interruption import called_by_orion, interrupt_status
from prepare_polsess import UserError
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)


def run(main: Callable) -> None:
    """Call a script's main function; tell in one line what has ended it.

    A hunt of Orion's ends with such an error, and with an interruption, and
    the trial goes on with the next hunt: it is not the parameters' fault.

    Arguments
    ---------
    main : callable
        Takes the arguments of the command line.
    """
    try:
        main(sys.argv[1:])
    except UserError as error:
        # A loader's process hands its whole traceback over as the message.
        message = str(error).rpartition("UserError: ")[2].strip()
        logger.debug(message)  # goes to log.txt, not to the terminal
        if int(os.environ.get("RANK", "0")) > 0:
            # The first process's is enough: torchrun ends this one soon after
            # it. An error of this process alone is told.
            time.sleep(3)
        print(f"Error: {message}", file=sys.stderr)
        sys.exit(interrupt_status())
    except SystemExit as error:
        # With 2 argparse has told of an option that it does not take.
        sys.exit(interrupt_status() if error.code == 2 else error.code)
    except KeyboardInterrupt:
        if called_by_orion():
            sys.exit(interrupt_status())
        if int(os.environ.get("RANK", "0")) == 0:
            print("Interrupted. The same command goes on.", file=sys.stderr)
        sys.exit(130)
