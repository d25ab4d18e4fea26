"""Which attention heads are pruned or shared."""
