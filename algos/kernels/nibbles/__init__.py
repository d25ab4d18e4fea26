"""Eight 4-bit codes in an int32 word: packed by torch, unpacked in a kernel's registers."""
