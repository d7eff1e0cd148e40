"""The smallest coarse network within a tolerance of the loss: global grids, published procedures, tuned refinements."""

from bitsandnats.coarse_grain.grain import coarse_grain as coarse_grain
from bitsandnats.coarse_grain.grain import ranks as ranks
from bitsandnats.coarse_grain.matrices import Checkpoint as Checkpoint
from bitsandnats.coarse_grain.matrices import read_checkpoint as read_checkpoint
from bitsandnats.coarse_grain.trials import Trial as Trial
from bitsandnats.coarse_grain.trials import Trials as Trials
