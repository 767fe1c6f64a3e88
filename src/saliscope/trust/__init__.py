"""May this map be read: checks, states, documents, and the sentences in them."""
