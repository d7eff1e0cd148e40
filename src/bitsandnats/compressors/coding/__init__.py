"""Networks as bytes: whole numbers of steps under fitted distributions, in a container that decodes exactly."""

from bitsandnats.compressors.coding.baselines import first_order_bits as first_order_bits
from bitsandnats.compressors.coding.baselines import published_bytes as published_bytes
from bitsandnats.compressors.coding.baselines import symbol_bytes as symbol_bytes
from bitsandnats.compressors.coding.container import Sections as Sections
from bitsandnats.compressors.coding.container import check_architecture as check_architecture
from bitsandnats.compressors.coding.container import decode as decode
from bitsandnats.compressors.coding.container import encode as encode
from bitsandnats.compressors.coding.container import sections as sections
from bitsandnats.compressors.coding.files import load as load
from bitsandnats.compressors.coding.files import read as read
from bitsandnats.compressors.coding.files import save as save
from bitsandnats.compressors.coding.files import save_weights as save_weights
from bitsandnats.compressors.coding.types import Grid as Grid
from bitsandnats.compressors.coding.types import Network as Network
from bitsandnats.compressors.coding.types import Piece as Piece
from bitsandnats.compressors.coding.types import fingerprint as fingerprint
from bitsandnats.compressors.coding.types import to_grid as to_grid
