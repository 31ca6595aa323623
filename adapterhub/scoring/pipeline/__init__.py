"""Windows of rows through the three stages of a call, overlapped, and features that are kept."""
