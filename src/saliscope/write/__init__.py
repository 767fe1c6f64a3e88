"""Results on disk: whole or not at all, and the same bytes for the same result."""

from saliscope.write.atomic import new_folder, write_file
from saliscope.write.bundle import explanation_files, safe_name, save, write_files
from saliscope.write.image_files import FORMATS, image_files, region_files
from saliscope.write.nifti import map_nifti
from saliscope.write.record import SCHEMA_VERSION, csv_bytes, explanation_record, json_bytes, plain

__all__ = [
    "FORMATS",
    "SCHEMA_VERSION",
    "csv_bytes",
    "explanation_files",
    "explanation_record",
    "image_files",
    "json_bytes",
    "map_nifti",
    "new_folder",
    "plain",
    "region_files",
    "safe_name",
    "save",
    "write_file",
    "write_files",
]
