"""What pose priors are used for, measured: trained priors and baselines on one data set, task by task."""
