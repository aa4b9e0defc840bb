"""Every reader of anyjepa by name."""

from __future__ import annotations

import data_readers
import ecg_readers
import model_readers
from reader import Reader

READERS: dict[str, Reader] = {
    "wfdb": Reader(ecg_readers.build_wfdb, ecg_readers.ecg, resign=ecg_readers.without_checksums),
    "arrays": Reader(ecg_readers.build_arrays, ecg_readers.arrays),
    "tables": Reader(ecg_readers.build_tables, ecg_readers.ecg),
    "dicom": Reader(ecg_readers.build_dicom, ecg_readers.ecg),
    "scp": Reader(ecg_readers.build_scp, ecg_readers.ecg),
    "xml": Reader(ecg_readers.build_xml, ecg_readers.ecg),
    "annotations": Reader(ecg_readers.build_annotations, ecg_readers.ecg, damaged="*.atr"),
    "code15": Reader(ecg_readers.build_code15, ecg_readers.ecg),
    "ptbxl": Reader(ecg_readers.build_ptbxl, ecg_readers.ecg, damaged="*.csv"),
    "store": Reader(ecg_readers.build_store, ecg_readers.store, resign=ecg_readers.resign_store),
    "images": Reader(data_readers.build_images, data_readers.images),
    "cifar": Reader(data_readers.build_cifar, data_readers.cifar),
    "idx": Reader(data_readers.build_idx, data_readers.images),
    "video": Reader(data_readers.build_video, data_readers.video),
    "series": Reader(data_readers.build_series, data_readers.series),
    "cells": Reader(data_readers.build_cells, data_readers.cells),
    "labels": Reader(data_readers.build_labels, data_readers.labels),
    "recipes": Reader(model_readers.build_recipes, model_readers.recipes),
    "models": Reader(model_readers.build_models, model_readers.models),
    "runs": Reader(model_readers.build_runs, model_readers.runs),
    "foreign": Reader(model_readers.build_foreign, model_readers.foreign),
}
