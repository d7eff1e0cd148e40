"""Samplers on random deep linear networks whose λ is known, by size class (2507.21449)."""

from bitsandnats.experiments.dln_benchmark.plan import Plan as Plan
from bitsandnats.experiments.dln_benchmark.plan import benchmark_plan as benchmark_plan
from bitsandnats.experiments.dln_benchmark.plan import measured_plan as measured_plan
from bitsandnats.experiments.dln_benchmark.study import dln_benchmark as dln_benchmark
