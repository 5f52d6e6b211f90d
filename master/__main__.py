"""`python -m master` is `gpumon master`."""

import sys

from gpumon.cli import main

sys.exit(main(["master", *sys.argv[1:]]))
