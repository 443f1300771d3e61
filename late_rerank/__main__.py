"""`python -m late_rerank` is `late-rerank`."""

import sys

from late_rerank.cli import main

sys.exit(main())
