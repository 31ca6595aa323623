"""Parts of the output, each whole once its manifest is there."""
