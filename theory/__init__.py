"""The mathematics: Gaussian perimeters, power diagrams, leak and flips. Import the submodules."""
