"""`python -m agent` is the command `gpumon agent`."""

import sys

from gpumon.cli import main

sys.exit(main(["agent", *sys.argv[1:]]))
