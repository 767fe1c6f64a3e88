"""Changes that another acquisition of the same patient could have made, and that change no finding."""
