"""Files beside the stages, of programs that know one thing of a clip: which way is up, when feet touch the ground."""
