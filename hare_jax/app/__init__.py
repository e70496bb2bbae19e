"""What a user meets: the command line, `Explainer`, `Session`, audits, the web page, studies and the demonstration."""
