"""Lets these tests import `brute_force`, the evaluator that they share with the tests of the language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "language"))
