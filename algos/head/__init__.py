"""Classes and importances of attention heads."""
