"""What 'absent' means, and how absent inputs are streamed through a network."""
