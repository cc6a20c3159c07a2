"""Add the modules of the embedded server, and its migrations, which Alembic runs from the disk."""

from humanloop._pyinstaller import files_below, modules_below

MIGRATIONS = "humanloop.server.store.migrations"

hiddenimports = modules_below("humanloop.server", without=[MIGRATIONS])
datas = files_below(MIGRATIONS)
