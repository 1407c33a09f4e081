"""Raw files, the front door: finds, checks and reads a pair of images."""

from __future__ import annotations

from napari_exo2micro.core.raw.fingerprint import RawFingerprint
from napari_exo2micro.core.raw.folder import (
    ChannelStatistics,
    ChannelSurvey,
    FoundPairs,
    LayoutDiagnosis,
    LayoutProblem,
    PairFiles,
    SkippedTask,
    TaskDiscovery,
    diagnose_raw_layout,
    discover_tasks,
    find_pairs,
    may_be_raw,
    survey_raw_channels,
)
from napari_exo2micro.core.raw.lazy import LazyPair, open_lazy_pair
from napari_exo2micro.core.raw.names import (
    DyeFiles,
    NameProblem,
    ParsedName,
    RawFiles,
    check_name,
    classify_raw_files,
    find_pair,
    list_dyes,
    list_samples,
)
from napari_exo2micro.core.raw.pair import (
    Loader,
    RawPair,
    get_loader,
    load_image_pair,
    loader_name,
    loader_names,
    register_loader,
    unregister_loader,
)
from napari_exo2micro.core.raw.read import RawImage, channel_name

__all__ = [
    "ChannelStatistics",
    "ChannelSurvey",
    "DyeFiles",
    "FoundPairs",
    "LayoutDiagnosis",
    "LayoutProblem",
    "LazyPair",
    "Loader",
    "NameProblem",
    "PairFiles",
    "ParsedName",
    "RawFiles",
    "RawFingerprint",
    "RawImage",
    "RawPair",
    "SkippedTask",
    "TaskDiscovery",
    "channel_name",
    "check_name",
    "classify_raw_files",
    "diagnose_raw_layout",
    "discover_tasks",
    "find_pair",
    "find_pairs",
    "get_loader",
    "list_dyes",
    "list_samples",
    "load_image_pair",
    "loader_name",
    "loader_names",
    "may_be_raw",
    "open_lazy_pair",
    "register_loader",
    "survey_raw_channels",
    "unregister_loader",
]
