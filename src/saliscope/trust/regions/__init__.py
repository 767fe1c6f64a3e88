"""Where things lie in a picture that nobody outlined: found by simple means, with their error said, or absent."""
