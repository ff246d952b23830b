"""Bodies of other makers' rigs: Meta's MHR, NVIDIA's SOMA and Anny, as `body-models` poses them, brought to where our skeletons are."""
