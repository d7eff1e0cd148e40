"""Structure: layers and matrices of an architecture, found by its attributes."""

from bitsandnats.structure.fold_layer_norm import Folded as Folded
from bitsandnats.structure.fold_layer_norm import can_fold as can_fold
from bitsandnats.structure.fold_layer_norm import fold_layer_norm as fold_layer_norm
