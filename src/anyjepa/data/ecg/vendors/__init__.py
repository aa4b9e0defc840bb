"""Files of ECG devices: DICOM, SCP-ECG, GE MUSE and HL7 XML."""
