"""Loss kernels of a network with two tasks and of a classifier, against controls and a hierarchy (2509.26537)."""

from bitsandnats.experiments.loss_kernel.plan import Plan as Plan
from bitsandnats.experiments.loss_kernel.plan import loss_kernel_plan as loss_kernel_plan
from bitsandnats.experiments.loss_kernel.study import loss_kernel_study as loss_kernel_study
