"""Cameras that another program found, in the place of those of the people's tool."""
