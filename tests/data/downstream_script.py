from astropy.io import fits
from skimage import morphology, measure
hdul = fits.open(
'processed/CD070/SybrGld_microbe/fits/04_difference_difference.fits')
diff = hdul[0].data
scale = hdul[0].header['SCALE']
# Threshold at e.g. 5 sigma above background noise
bg_std = diff[diff != 0].std()
mask = diff > 5 * bg_std
# Clean up small artefacts
mask = morphology.remove_small_objects(mask, min_size=20)
# Label connected components
labels = measure.label(mask)
props = measure.regionprops(labels, intensity_image=diff)
for p in props:
    print(f"feature {p.label}: centroid {p.centroid} "
    f"area {p.area} mean intensity {p.mean_intensity:.1f}")
