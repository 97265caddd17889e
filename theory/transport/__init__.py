"""Deterministic maps of limited stiffness: constructions, certified networks and their training."""

from theory.transport.fit import Schedule as Schedule
from theory.transport.fit import Training as Training
from theory.transport.fit import begin as begin
from theory.transport.fit import fit as fit
from theory.transport.line import LineMap as LineMap
from theory.transport.line import line_leak as line_leak
from theory.transport.line import optimal_line as optimal_line
from theory.transport.lipschitz import LipschitzNetwork as LipschitzNetwork
from theory.transport.lipschitz import certified as certified
from theory.transport.lipschitz import lipschitz_network as lipschitz_network
from theory.transport.lipschitz import orthonormal as orthonormal
from theory.transport.sparsemax import ScoreMap as ScoreMap
from theory.transport.sparsemax import SignedDistanceMap as SignedDistanceMap
from theory.transport.sparsemax import SparsemaxMap as SparsemaxMap
from theory.transport.sparsemax import signed_distances as signed_distances
from theory.transport.sparsemax import sparsemax as sparsemax
from theory.transport.sparsemax import sparsemax_leak as sparsemax_leak
from theory.transport.sparsemax import sparsemax_stiffness as sparsemax_stiffness
