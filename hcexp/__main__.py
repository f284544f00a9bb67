"""`python -m hcexp` is `hcexp`."""

import sys

from hcexp.cli import main

sys.exit(main())
