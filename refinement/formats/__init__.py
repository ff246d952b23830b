"""What upstream tools left on disk, one file per tool or kind of file, in numpy and in the files' own units."""
