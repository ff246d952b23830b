"""Motion capture on skeletons of other makers: read, recognised, and brought onto SMPL-X's joints by where its joints are."""
