"""The generator: from openapi.yaml to formatted files, by Jinja2 templates.

`spec` reads the document, `names` and `hints` decide the Python names and types of its parts,
`pages` the documentation of each schema and `examples` the calls shown in it. `ir` puts everything
that the templates need into frozen dataclasses, `render` makes the text of every generated file,
with `markdown` for the pages, and `write` updates the working tree, or lists its differences.
Invariants: the same document gives the same bytes, and the generator imports nothing that it
writes.
"""
