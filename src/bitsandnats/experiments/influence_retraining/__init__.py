"""Attributions against retraining on subsets and without single items (2509.26544)."""

from bitsandnats.experiments.influence_retraining.costs import measured_plan as measured_plan
from bitsandnats.experiments.influence_retraining.plan import Plan as Plan
from bitsandnats.experiments.influence_retraining.plan import influence_plan as influence_plan
from bitsandnats.experiments.influence_retraining.study import influence_retraining as influence_retraining
