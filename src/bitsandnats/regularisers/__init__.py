"""What makes a network simpler while it is trained: spectral entropy and weight noise, for any training loop."""

from bitsandnats.regularisers.noise import weight_noise as weight_noise
from bitsandnats.regularisers.spectral import effective_rank as effective_rank
from bitsandnats.regularisers.spectral import matrix_entropy as matrix_entropy
from bitsandnats.regularisers.spectral import spectral_entropy as spectral_entropy
