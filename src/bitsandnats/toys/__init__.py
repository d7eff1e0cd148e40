"""Models with a known answer."""

from bitsandnats.toys.potentials import minimally_singular as minimally_singular
from bitsandnats.toys.potentials import normal_crossing as normal_crossing
from bitsandnats.toys.potentials import quadratic as quadratic
