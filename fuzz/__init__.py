"""Fuzz targets: properties that hold for any input of a peer and any call of an application.

- `codecs`, `transports` and `client` check the properties. They are plain functions of bytes, which the tests call, too.
- `driver` carries out a machine's actions in memory and checks them against the contract of `Machine`.
- `targets` names the targets, `__main__` runs one with atheris (`make fuzz`).
- `corpus/` has a minimised corpus for each target. `seeds` builds the seeds, `minimise` selects the inputs that stay in it.
"""
