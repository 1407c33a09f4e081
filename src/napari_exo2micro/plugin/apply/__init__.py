"""An alignment applied to other layers."""
