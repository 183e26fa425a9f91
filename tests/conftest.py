"""Shared fixtures: generated code goes to a folder of its own, so that every run compiles what it tests."""

import os
import tempfile

os.environ["DMFTSYM_CACHE"] = tempfile.mkdtemp(prefix="dmftsym-tests-")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
