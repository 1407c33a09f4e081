"""Raw files, the front door: finds, checks and reads a pair of images."""

from napari_exo2micro.core.base.errors import refuse_assignment
from napari_exo2micro.core.raw.fingerprint import RawFingerprint as RawFingerprint
from napari_exo2micro.core.raw.folder import (
    ChannelSurvey as ChannelSurvey,
    FoundPairs as FoundPairs,
    LayoutDiagnosis as LayoutDiagnosis,
    LayoutProblem as LayoutProblem,
    PairFiles as PairFiles,
    SkippedTask as SkippedTask,
    TaskDiscovery as TaskDiscovery,
    diagnose_raw_layout as diagnose_raw_layout,
    discover_tasks as discover_tasks,
    find_pairs as find_pairs,
    may_be_raw as may_be_raw,
    pair_files as pair_files,
    raw_folder_of as raw_folder_of,
    survey_raw_channels as survey_raw_channels,
)
from napari_exo2micro.core.raw.lazy import (
    LazyPair as LazyPair,
    open_lazy_pair as open_lazy_pair,
)
from napari_exo2micro.core.raw.names import (
    NameProblem as NameProblem,
    check_name as check_name,
    classify_raw_files as classify_raw_files,
    find_pair as find_pair,
    list_samples as list_samples,
)
from napari_exo2micro.core.raw.pages import ImageChoice as ImageChoice
from napari_exo2micro.core.raw.pair import (
    ASSIGNED_LOADER,
    Loader as Loader,
    RawPair as RawPair,
    get_loader as get_loader,
    load_image_pair as load_image_pair,
    loader_name as loader_name,
    loader_names as loader_names,
    reader_of as reader_of,
    register_loader as register_loader,
    unregister_loader as unregister_loader,
)
from napari_exo2micro.core.raw.pairing import (
    PairProposal as PairProposal,
    images_below as images_below,
    propose_pairs as propose_pairs,
    row_texts as row_texts,
    suggested_names as suggested_names,
    write_pair_table as write_pair_table,
)
from napari_exo2micro.core.raw.read import channel_name as channel_name
from napari_exo2micro.core.raw.table import (
    TABLE_NAME as TABLE_NAME,
    PairTable as PairTable,
    TableRow as TableRow,
    read_pair_table as read_pair_table,
    table_row as table_row,
)

refuse_assignment(__name__, ASSIGNED_LOADER, "load_image_pair")
