"""Images as a modality."""

from __future__ import annotations

from anyjepa.data.images import graph, inspection, source
from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.image_files import MEDIA, read_image
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.reading import recognise
from anyjepa.data.images.source import ImageDataConfig
from anyjepa.data.modality import Inspection, Modality, Requests, Usage

IMAGES = Modality(
    config=ImageDataConfig,
    preprocessing=ImagePreprocessing,
    dataset=ImageDataset,
    training_data=source.training_data,
    graph=graph.graph,
    training_arrays=source.training_arrays,
    evaluation_data=source.evaluation_data,
    inspection=Inspection(inspection.inspect, inspection.render, recognise),
    drawing="images",
    usage=Usage(
        "images",
        "(images, height, width, channels) uint8, or a list of images of any size",
        sizes="images of any size are cut to their middle square and resized",
        wrong="order of channels or range of values",
    ),
    requests=Requests(
        "images", pixels=True, files=dict.fromkeys(MEDIA, lambda content: {"images": read_image(content)})
    ),
)
