"""Does the map stay where the image hardly changed."""
