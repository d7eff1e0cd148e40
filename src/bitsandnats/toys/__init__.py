"""Models with a known answer."""

from bitsandnats.toys.deep_linear import DeepLinear as DeepLinear
from bitsandnats.toys.deep_linear import deep_linear_network as deep_linear_network
from bitsandnats.toys.deep_linear import minimal_rank_teacher as minimal_rank_teacher
from bitsandnats.toys.deep_linear import mixed_rank_teacher as mixed_rank_teacher
from bitsandnats.toys.deep_linear import mixed_ranks as mixed_ranks
from bitsandnats.toys.deep_linear import random_deep_linear as random_deep_linear
from bitsandnats.toys.deep_linear import reduced_rank as reduced_rank
from bitsandnats.toys.item_quadratics import item_quadratics as item_quadratics
from bitsandnats.toys.item_quadratics import items as items
from bitsandnats.toys.monomials import Monomial as Monomial
from bitsandnats.toys.monomials import monomial as monomial
from bitsandnats.toys.monomials import sum_of_monomials as sum_of_monomials
from bitsandnats.toys.neuron import neurons as neurons
from bitsandnats.toys.panels import panel as panel
from bitsandnats.toys.polygons import superposition as superposition
from bitsandnats.toys.potentials import minimally_singular as minimally_singular
from bitsandnats.toys.potentials import normal_crossing as normal_crossing
from bitsandnats.toys.potentials import quadratic as quadratic
from bitsandnats.toys.products import unit_products as unit_products
from bitsandnats.toys.products import zero_products as zero_products
from bitsandnats.toys.regression import linear_regression as linear_regression
from bitsandnats.toys.relu import relu_pair as relu_pair
from bitsandnats.toys.relu import rescaled as rescaled
from bitsandnats.toys.size_classes import size_class as size_class
from bitsandnats.toys.types import Toy as Toy
