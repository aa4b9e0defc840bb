"""ECGs as a modality."""

from __future__ import annotations

from anyjepa.data.ecg import graph, inspection, source
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.vendors.dicom import as_request
from anyjepa.data.modality import Inspection, Modality, Requests, Usage

_OPTIONS = ("fs", "leads", "unit")

ECG = Modality(
    config=EcgDataConfig,
    preprocessing=EcgPreprocessing,
    dataset=EcgDataset,
    training_data=source.training_data,
    graph=graph.graph,
    training_arrays=source.training_arrays,
    evaluation_data=source.evaluation_data,
    prepare_arrays=source.prepare_arrays,
    options=_OPTIONS,
    parallel=True,
    inspection=Inspection(inspection.inspect, inspection.render, lambda path: False, _OPTIONS),
    drawing="ecg",
    usage=Usage(
        'signals, fs=500, leads=leads, unit="mV"',
        "(records, leads, samples) as recorded",
        caution="It is not a medical device.",
    ),
    requests=Requests("signals", files={"application/dicom": as_request}),
)
