"""Scripts that run in the environments of other libraries, whose Python may be older; they share `protocol`."""
