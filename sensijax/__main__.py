"""`python -m sensijax` is `sensijax`."""

import sys

from sensijax.cli import main

sys.exit(main())
