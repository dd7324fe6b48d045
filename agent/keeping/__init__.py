"""Where conversations and what is remembered are kept: SQLite files, or one Postgres for several copies of the app."""
