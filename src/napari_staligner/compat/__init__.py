"""Workarounds for versions of napari, vispy, Qt, triton and numcodecs; all are in this folder.

Each says what happens without it and when it can be removed. Qt and napari are loaded only when a
function that needs them is called. The plugin must work with ``napari>=0.7.1``.
"""

from napari_staligner.compat.chunks import check_chunks
from napari_staligner.compat.controls import controls_when_needed
from napari_staligner.compat.drawing import (
    draw_after_removals,
    drawn_later,
    find_cells_once,
    hold_canvas,
    outline_letters,
    prepare_before_drawing,
    remember_shaders,
)
from napari_staligner.compat.garbage import SearchAtRest, search_whole
from napari_staligner.compat.layers import (
    layers_moved,
    layers_removed,
    marked_when_needed,
    simple_thumbnail,
    sliced_when_needed,
)
from napari_staligner.compat.points import (
    colors_unsent,
    draw_discs,
    markers_of,
    markers_visual,
    send_colors,
)
from napari_staligner.compat.process import (
    SPINNER_SPEED,
    keep_triton_out,
    load_torch_freely,
    load_units,
    slow_spinners,
)
from napari_staligner.compat.scene import (
    after_building,
    being_drawn,
    make_overlays,
    scene_built_once,
    when_built,
)
from napari_staligner.compat.turns import in_turn
from napari_staligner.compat.viewer import (
    camera_of,
    canvas_size,
    grid_of,
    no_layers_yet,
    node_of,
    on_canvas_resized,
    scale_bar_of,
    unwrapped,
)

__all__ = [
    "SPINNER_SPEED",
    "SearchAtRest",
    "after_building",
    "being_drawn",
    "camera_of",
    "canvas_size",
    "check_chunks",
    "colors_unsent",
    "controls_when_needed",
    "draw_after_removals",
    "draw_discs",
    "drawn_later",
    "find_cells_once",
    "grid_of",
    "hold_canvas",
    "in_turn",
    "keep_triton_out",
    "layers_moved",
    "layers_removed",
    "load_torch_freely",
    "load_units",
    "make_overlays",
    "marked_when_needed",
    "markers_of",
    "markers_visual",
    "no_layers_yet",
    "node_of",
    "on_canvas_resized",
    "outline_letters",
    "prepare_before_drawing",
    "remember_shaders",
    "scale_bar_of",
    "scene_built_once",
    "search_whole",
    "send_colors",
    "simple_thumbnail",
    "sliced_when_needed",
    "slow_spinners",
    "unwrapped",
    "when_built",
]
