"""Log later: records are written to files first, and a thread sends them.

`options` has the settings, `segments` the format of a file, `directory` the files with their locks,
`references` makes IDs, `writer` appends, `batches` decides what goes out together, `sender` is the
thread, `spool` is what a client holds, and `client` makes it a part of the client.
"""
