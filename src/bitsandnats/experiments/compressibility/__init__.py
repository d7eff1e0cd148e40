"""LLC against every compression, over the training of language models of several sizes (2510.12077)."""

from bitsandnats.experiments.compressibility.costs import measured_plan as measured_plan
from bitsandnats.experiments.compressibility.plan import Plan as Plan
from bitsandnats.experiments.compressibility.plan import compressibility_plan as compressibility_plan
from bitsandnats.experiments.compressibility.study import compressibility as compressibility
