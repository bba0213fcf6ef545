"""Pictures, from a results tree alone. A new picture: its file, and a line in ``PICTURES``.

Each file has ``applies(tree)``, whether these results have what the picture shows, and ``draw(tree)``.
"""
