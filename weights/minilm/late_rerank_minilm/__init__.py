"""The files of all-MiniLM-L6-v2, in the folder `model` beside this file. Nothing needs to import this module."""
