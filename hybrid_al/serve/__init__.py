"""The REST interface of MONAI Label for a run (`hybrid-al serve`)."""
