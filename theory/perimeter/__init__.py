"""Gaussian perimeter P = Σ_{i<j} ∫_{F_ij} φ_n dH^{n−1}, each facet counted once, by many routes."""

from theory.perimeter.coarea import coarea as coarea
from theory.perimeter.crofton import crofton as crofton
from theory.perimeter.crofton import facet_areas as facet_areas
from theory.perimeter.crofton import sparse_facet_areas as sparse_facet_areas
from theory.perimeter.exact import half_space as half_space
from theory.perimeter.exact import intervals as intervals
from theory.perimeter.exact import orthants as orthants
from theory.perimeter.exact import simplicial as simplicial
from theory.perimeter.exact import simplicial_facets as simplicial_facets
from theory.perimeter.gauss_green import gauss_green as gauss_green
from theory.perimeter.projection import facet_projection as facet_projection
from theory.perimeter.projection import projected_facet_areas as projected_facet_areas
from theory.perimeter.tube import tube as tube
from theory.perimeter.tube import tube_ratio as tube_ratio
