"""Real decoders: what they are, how their files are read, and their readouts as power diagrams."""
