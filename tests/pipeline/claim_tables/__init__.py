"""Tables that a claim must accept, refuse, or leave open; made when asked for."""
