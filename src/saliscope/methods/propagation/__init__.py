"""Methods that carry something other than the gradient backwards through a network."""
