"""Systems beside each other on a folder of data sets, and the page that shows the figures."""
