"""What is found of a method for a model over a cohort: one section of the model card of explanations, one file."""
