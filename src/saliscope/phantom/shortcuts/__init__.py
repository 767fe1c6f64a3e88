"""What goes with the label and is no part of the disease, with a place or without one; distractors and suppressors."""
