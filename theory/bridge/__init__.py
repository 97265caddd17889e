"""Real decoders: a readout becomes a PowerDiagram. Defines no estimator of its own."""
