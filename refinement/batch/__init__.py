"""Many sequences: which there are, what is done already, and one after the other through stages 4 and 5."""
