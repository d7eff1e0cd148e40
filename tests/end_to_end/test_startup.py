"""What starting costs: the package is imported for nothing, and help without the heavy libraries."""

import os
import subprocess
import sys

HEAVY = ("transformers", "tokenizers", "altair", "vl_convert", "xarray", "zarr", "scipy", "arviz_stats", "llvmlite")


def run(code):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    return done.stdout.split()


def test_import_costs_little_beside_torch():
    code = "import time, torch; began = time.perf_counter(); import bitsandnats; print(time.perf_counter() - began)"
    assert min(float(run(code)[0]) for _ in range(2)) < 0.3


def test_import_takes_neither_torch_nor_anything_else_heavy():
    code = f"import sys, bitsandnats; print(*(m for m in ('torch', *{HEAVY!r}) if m in sys.modules))"
    assert run(code) == []


def test_help_takes_nothing_heavy():
    code = f"""
import sys
sys.argv = ["bitsandnats", "--help"]
from bitsandnats.cli import main
try:
    main()
except SystemExit:
    print()
    print("heavy", *(m for m in ("torch", *{HEAVY!r}) if m in sys.modules))
"""
    said = run(code)
    assert said[said.index("heavy") :] == ["heavy"]
