"""The machinery: store, sweep, command line, figures and report."""
