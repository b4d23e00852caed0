"""Streams: read messages of a queue as chunks of checked records, and acknowledge them once their rows are written.

Queue --poll--> MessageParser -> Lanes (fast, standard) -> QueueReader.advance -> Chunk
                              -> Preparation (attachments, long texts) -^

polling.py      the thread that polls, and that acknowledges what is written
parsing.py      a message in, a record with its passing columns, or a failure, out
lanes.py        what waits to be classified, and how much of it goes next
preparation.py  slow records, each at its own pace
source.py       the above as one of Beam's unbounded sources
refreshing.py   new versions of saved classifiers
stopping.py     the end of a stream
"""
