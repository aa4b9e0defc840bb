"""WFDB (PhysioNet): headers, signal files in every format, MATLAB signals, annotations."""
