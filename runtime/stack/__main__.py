"""`python -m runtime.stack`: see `runtime.stack.build`."""

import sys

from runtime.stack.build import main

sys.exit(main())
