"""What is computed: tokens, encoder, pooling, heads, and the tasks on the device."""
