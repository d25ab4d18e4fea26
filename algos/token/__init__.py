"""Methods that drop tokens for all following layers."""
