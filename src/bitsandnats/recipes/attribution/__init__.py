"""Which data and which components: one run of chains, and what is read from it."""

from bitsandnats.recipes.attribution.influence import influence as influence
from bitsandnats.recipes.attribution.keep import keep as keep
from bitsandnats.recipes.attribution.kernel import loss_kernel as loss_kernel
from bitsandnats.recipes.attribution.observation import observe as observe
from bitsandnats.recipes.attribution.refined import refined_llc as refined_llc
from bitsandnats.recipes.attribution.response import susceptibility as susceptibility
