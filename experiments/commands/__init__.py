"""One module a command: `add_arguments(parser)` and `act(args) -> exit status`."""
