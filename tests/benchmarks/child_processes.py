"""What a script says in a process of its own, so that engines and threads of one way don't meet those of another."""

import json
import os
import subprocess
import sys


def answer_of(script, *arguments, one_thread=True):
    """The JSON in the last line that a script prints.

    Args:
        script: Its path.
        arguments: Its arguments, of any type.
        one_thread: Run each model on one thread.
    """
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if one_thread else {})}
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])
