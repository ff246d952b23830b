"""Films of refinements: bodies before and after over what the camera saw."""
