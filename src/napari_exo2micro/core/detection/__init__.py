"""What stands out of a difference: which are microbes, how many, how sure."""

from napari_exo2micro.core.detection.candidates import (
    PEAK as PEAK,
    find_peaks as find_peaks,
    label_bands as label_bands,
    measure_candidates as measure_candidates,
    merge_peaks as merge_peaks,
)
from napari_exo2micro.core.detection.catalogue import (
    ENDINGS as ENDINGS,
    FLAGS as FLAGS,
    REFUSED as REFUSED,
    Flag as Flag,
    Grade as Grade,
    Search as Search,
    flag_words as flag_words,
    is_counted as is_counted,
    read_catalogue as read_catalogue,
    set_flags as set_flags,
    set_grades as set_grades,
    write_catalogue as write_catalogue,
)
from napari_exo2micro.core.detection.completeness import (
    SPOT as SPOT,
    Completeness as Completeness,
    Injected as Injected,
    Injection as Injection,
    Remade as Remade,
    add_spots as add_spots,
    draw_spots as draw_spots,
    found_again as found_again,
    spot_shapes as spot_shapes,
    windows_for as windows_for,
)
from napari_exo2micro.core.detection.control import Control as Control
from napari_exo2micro.core.detection.counts import (
    Count as Count,
    FluxClass as FluxClass,
    Purity as Purity,
    corrected_count as corrected_count,
    count_of as count_of,
    purity_of as purity_of,
    threshold_for as threshold_for,
)
from napari_exo2micro.core.detection.significance import (
    Significance as Significance,
    fit_significance as fit_significance,
)
