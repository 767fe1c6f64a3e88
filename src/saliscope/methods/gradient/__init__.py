"""Methods that follow the gradient to the input."""
