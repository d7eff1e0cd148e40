"""Refined LLCs of attention heads over training, held against what ablating them does (2410.02984)."""

from bitsandnats.experiments.refined_llc.plan import Plan as Plan
from bitsandnats.experiments.refined_llc.plan import refined_llc_plan as refined_llc_plan
from bitsandnats.experiments.refined_llc.study import refined_llc as refined_llc
