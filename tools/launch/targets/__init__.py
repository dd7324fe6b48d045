"""One generator a target: ``files(job)`` makes the files, ``check(job, files)`` asks the validators."""
