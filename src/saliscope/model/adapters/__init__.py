"""Networks of other libraries and files, each with the conventions that it was trained with."""
