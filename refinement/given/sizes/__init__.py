"""How large people are, where their files do not say, or say what other witnesses contradict."""
