"""How a run of training keeps what it has: its checkpoints, the folder they lie in, its schedule, and how it goes on from one."""
