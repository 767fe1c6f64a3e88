"""Named regions erased or kept alone, and what the network says then."""
