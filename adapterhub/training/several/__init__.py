"""Several tasks trained in one run: read, encoded together, trained one by one, saved together."""
