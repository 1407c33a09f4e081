"""The layers of ours in the viewer: what they show and how they are found again."""
