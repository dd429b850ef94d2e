"""The benchmarks are scripts beside the package: their tests import them from the root of the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
