"""Bytes to MedicalImage; identifiers stay here."""
