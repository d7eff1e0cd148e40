"""The target: the tempered, localised density, and how it is evaluated on the machine at hand."""

from bitsandnats.target.micro_batch import choose_micro_batch as choose_micro_batch
from bitsandnats.target.micro_batch import kept_bytes as kept_bytes
from bitsandnats.target.micro_batch import total_memory as total_memory
from bitsandnats.target.modes import faster_mode as faster_mode
from bitsandnats.target.modes import why_not_at_once as why_not_at_once
from bitsandnats.target.posterior import Evaluation as Evaluation
from bitsandnats.target.posterior import LocalPosterior as LocalPosterior
from bitsandnats.target.posterior import Variate as Variate
from bitsandnats.target.variate import DIRECTIONS as DIRECTIONS
from bitsandnats.target.variate import quadratic_variate as quadratic_variate
from bitsandnats.target.variate import variate_bytes as variate_bytes
