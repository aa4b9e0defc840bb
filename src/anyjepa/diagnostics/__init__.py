"""Signs of collapse and of other failures, on plain tensors, and the verdict that follows from them."""
