"""Video as a modality."""

from __future__ import annotations

from anyjepa.data.modality import Inspection, Modality, Requests, Usage
from anyjepa.data.summary import render
from anyjepa.data.video import graph, inspection, source
from anyjepa.data.video.dataset import VideoDataset
from anyjepa.data.video.preprocessing import VideoPreprocessing
from anyjepa.data.video.source import VideoDataConfig

VIDEO = Modality(
    config=VideoDataConfig,
    preprocessing=VideoPreprocessing,
    dataset=VideoDataset,
    training_data=source.training_data,
    graph=graph.graph,
    training_arrays=source.training_arrays,
    evaluation_data=source.evaluation_data,
    inspection=Inspection(inspection.inspect, render, inspection.recognise),
    drawing="video",
    usage=Usage(
        "videos",
        "(videos, frames, height, width, channels) uint8, or a list of videos of any size, at least one clip long",
        sizes="longer videos are read in half-overlapping clips, frames are cut to their middle square and resized",
        wrong="frame rate, order of channels or range of values",
    ),
    requests=Requests("videos", pixels=True),
)
