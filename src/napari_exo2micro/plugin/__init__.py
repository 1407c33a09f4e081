"""What napari shows: the only place with Qt; everything is computed by the core."""
