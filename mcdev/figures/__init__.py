"""Pictures, from a results tree alone; and of a measured file. The list is in `pictures.py`.

Each file has ``NAME``, the file's name without its ending; ``applies(tree)``, whether these results have what the
picture shows; and ``draw(tree)``, which returns a matplotlib ``Figure``.
"""

FORMATS = ("png", "svg", "pdf")
"""Of the files. Here, because the command line says them without importing a picture."""
STYLES = ("single", "double")
"""How wide pictures are: one column of a journal (89 mm), or both (183 mm)."""
