"""Joints of which nothing is known but where they are seen, with noise: a network that regresses the clip they are of.

The network of the flow has to know everything: rotations, paths, contacts, gaps, and noise in any of them. Where rotations are not seen,
a smaller one does better that learns nothing but the joints' places: the amortised posterior mean given noisy joints, told the noise of
each joint on each frame, beyond what a Gaussian process in the principal axes of the places says.
"""
