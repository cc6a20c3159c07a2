"""The spool: records are first written to files, and a thread sends them later.

`options` has the settings, `segments` the format of a file, `directory` the files with their locks,
`descriptors` the open files; `references` makes IDs, `writer` appends records, `batches` forms
requests, `delivery` sends them and acts on the answers, `sender` is the thread, `spool` joins these
to one object, and `client` is the client that has it.
"""
