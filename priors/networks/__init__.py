"""The networks and transforms that priors are built of."""
