"""Methods that decide what a KV cache holds and what each step reads of it."""
