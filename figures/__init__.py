"""Figures: functions that draw on given axes, and whole figures made of them.

`prediction` draws what a prediction or a measurement says of one or more architectures; `style`
holds the one look that all figures share and writes reproducible files. Everything is drawn on
`matplotlib.figure.Figure` objects, without pyplot, so it works without a display.
"""
