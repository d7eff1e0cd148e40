"""Where along a compressor's levels the tolerance is met."""

from bitsandnats.critical.point import CriticalPoint as CriticalPoint
from bitsandnats.critical.points import check_tolerances as check_tolerances
from bitsandnats.critical.points import critical_point as critical_point
from bitsandnats.critical.points import critical_points as critical_points
