"""The shell around the core: the command line and the demonstration."""
