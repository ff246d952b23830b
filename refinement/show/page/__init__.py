"""The page on which many results are looked through: its controls, its 3D scene, who may open it, and the verdicts."""
