"""The generator: openapi.yaml -> an intermediate representation -> Jinja2 templates -> formatted
files.

`spec` reads the document, `names` and `hints` say how its things are called and typed in Python,
`pages` what the documentation says of each schema and `examples` which calls it shows. `ir` puts
what the templates need into frozen dataclasses, `render` makes the text of every generated file,
with `markdown` for the pages, and `write` brings the working tree in line with it, or says how it
differs. Invariants: the same document gives the same bytes, and the generator imports nothing
that it writes.
"""
