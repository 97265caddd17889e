"""Kernels timed against this machine's matrix-product rate, in one run: `make bench`."""
