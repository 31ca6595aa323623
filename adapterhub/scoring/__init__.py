"""Files of texts -> files of answers: read, scored and written in chunks of constant size."""
