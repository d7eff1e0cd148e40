"""Structure: layers, heads and matrices of an architecture, found by what it does with its tensors."""

from bitsandnats.structure.fold_layer_norm import Folded as Folded
from bitsandnats.structure.fold_layer_norm import can_fold as can_fold
from bitsandnats.structure.fold_layer_norm import fold_layer_norm as fold_layer_norm
from bitsandnats.structure.read import read_structure as read_structure
from bitsandnats.structure.types import Head as Head
from bitsandnats.structure.types import Layer as Layer
from bitsandnats.structure.types import Matrix as Matrix
from bitsandnats.structure.types import Role as Role
from bitsandnats.structure.types import Slice as Slice
from bitsandnats.structure.types import Structure as Structure
