"""Publishing: tasks to the files of one commit on the Hub, card and figures included."""
