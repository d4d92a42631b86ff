"""Drawing datasets: functions that draw on given axes, and whole figures made of them.

`prediction` draws what a result says of one or more architectures, `agreement` a prediction over a
measurement, `claims` the evidence of a claim. `marks` decides what theory, Monte Carlo and trained
models look like; `style` holds the one look that all figures share and writes reproducible files.
Everything is drawn on `matplotlib.figure.Figure` objects, without pyplot, so it works without a
display.
"""
