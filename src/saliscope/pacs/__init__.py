"""DICOM traffic: who may call, what arrives, what is owed to whom; it never opens a network or draws a map."""
