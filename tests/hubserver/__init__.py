"""A Hugging Face Hub on the loopback interface, for the real client and real HTTP.

    with HubServer() as server:
        server.accounts.add("tok-alice", "alice", orgs=("acme",))
        …  HF_ENDPOINT=server.url …
        server.faults.add("POST", "/commit/", status(503), times=3)

It keeps everything in memory and speaks the routes of huggingface_hub 2.4 that publishing and
loading use: repositories, LFS, commits with a parent, pull requests, tags, trees, downloads.
It says nothing of Xet.
"""
