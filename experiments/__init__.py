"""Experiments: a grid of cells, one measurement a cell, one table an experiment."""
