"""How well faults of motions are found and taken out: known ones, put into motions of others."""
