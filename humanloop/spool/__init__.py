"""The spool: records are first written to files, and a thread sends them later.

`options` has the settings, `segments` the format of a file, `directory` the files with their locks;
`references` makes IDs, `writer` appends records, `batches` forms requests, `sender` is the thread,
`spool` joins these to one object, and `client` is the client that has it.
"""
