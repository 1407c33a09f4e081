"""Registration, scale and difference on arrays, without any file.

For images that are in memory already, or for a pipeline of your own.
"""

import numpy as np

from napari_exo2micro import core as e2m

pair = e2m.simulate_section((700, 800), seed=8, angle_deg=7.0, scale=1.04, gain=1.2)

# %% Both on one canvas, so that nothing is cut off when one is turned
post, pre = e2m.pad_images(pair.post, pair.pre, pad=80)
print("canvas:", post.shape, post.dtype)

# %% The outlines, then the interiors
coarse = e2m.register_highorder(post, pre)
print("outlines:", coarse.verdict.state, "by", coarse.method)
fine = e2m.refine_interior_sift(post, pre, coarse.transform)
print("interior:", fine.verdict.state, "by", fine.method)

# %% Against the truth: the distance between estimated and true places
places = pair.truth.section_points(500) + 80
true = pair.truth.canvas_transform(80)(places)
for name, found in (("outlines", coarse.transform), ("interior", fine.transform)):
    error = np.median(np.linalg.norm(found(places) - true, axis=1))
    print(f"error of the {name}: below a tenth of a pixel: {error < 0.1}")

# %% The pre-stain image as it lies on the post-stain one
rows, columns = post.shape
aligned = e2m.warp_window(pre, fine.transform, 0, rows, 0, columns)

# %% The scale by several methods; which one to believe is said by its verdict
statistics = e2m.accumulate_statistics(post, aligned)
for method in ("moffat", "least_squares"):
    found = e2m.estimate_scale(statistics, method)
    print(
        f"{method}: {found.scale:.2f} +- {found.uncertainty:.4f}, {found.verdict.state}"
    )

# %% The difference
scale = e2m.estimate_scale(statistics)
difference = e2m.difference_window(post, aligned, scale.scale, scale.offset)
print(f"median of the difference: {abs(np.median(difference)):.1f} grey levels")
