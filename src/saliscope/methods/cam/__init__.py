"""Methods that weigh the activation of a layer."""
