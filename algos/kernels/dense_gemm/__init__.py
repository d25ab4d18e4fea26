"""Dense half-precision products, by torch's own library."""
