"""What a network really uses of a phantom, by rendering it again without each element."""
