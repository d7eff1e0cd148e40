"""Complexity and the LLC while networks grok modular arithmetic (2412.09810)."""

from bitsandnats.experiments.grokking.costs import measured_plan as measured_plan
from bitsandnats.experiments.grokking.plan import Plan as Plan
from bitsandnats.experiments.grokking.plan import grokking_plan as grokking_plan
from bitsandnats.experiments.grokking.study import grokking as grokking
