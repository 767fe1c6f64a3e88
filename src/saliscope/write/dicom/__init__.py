"""Explanations as the DICOM objects that viewers show; identifiers of the patient stand here and nowhere else."""
