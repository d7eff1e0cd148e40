"""What a measurement will cost, before it runs: work, memory, time, disk."""

from bitsandnats.plan.achieved import achieved as achieved
from bitsandnats.plan.at_hand import plan_at_hand as plan_at_hand
from bitsandnats.plan.gpus import GPUS as GPUS
from bitsandnats.plan.on_gpu import plan_on_gpu as plan_on_gpu
from bitsandnats.plan.types import Plan as Plan
from bitsandnats.plan.types import Shape as Shape
from bitsandnats.plan.types import Stage as Stage
from bitsandnats.plan.work import compress_work as compress_work
from bitsandnats.plan.work import forward_flops as forward_flops
from bitsandnats.plan.work import llc_work as llc_work
from bitsandnats.plan.work import task_shape as task_shape
