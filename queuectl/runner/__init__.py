"""One attempt of a job outside the database: start it, bound it, end it, collect its output."""
