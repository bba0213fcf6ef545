"""Reports: one HTML file of a run, a study or a calibration, which any browser shows without a network.

A report is made of choices, panels and blocks (`contents.py`), which know nothing of memristors: a curve says of
which options of which choices it is, and the page draws what is chosen. `of_run.py`, `of_study.py` and
`of_calibration.py` say what there is to see; `page.py` writes the file, with `page.js` and plotly.js in it.
"""
