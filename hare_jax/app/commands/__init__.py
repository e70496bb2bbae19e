"""The commands of `hare-jax`, one file each: its options, a dataclass, and its `run_command(options, console)`."""
