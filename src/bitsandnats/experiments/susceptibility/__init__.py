"""Susceptibilities of attention heads, held against what ablating them does (2504.18274)."""

from bitsandnats.experiments.susceptibility.plan import Plan as Plan
from bitsandnats.experiments.susceptibility.plan import susceptibility_plan as susceptibility_plan
from bitsandnats.experiments.susceptibility.study import susceptibility as susceptibility
