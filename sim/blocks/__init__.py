"""Hardware blocks: configuration, golden function and timing model, one file each."""
