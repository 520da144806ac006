"""Reports: views of a finished run folder. Data first, HTML second; the page and its JSON are one object.

    folder     reads what a run left behind, and says what is missing or broken
    words      numbers, intervals, durations and names as a reader wants them
    verdict    the headline: what changed, how sure, at what cost
    contents   everything the page says, as plain JSON values
    svg, plots the drawings
    page       report.html and report.json
    card       the model card beside an adapter

Nothing here imports torch or loads a model.
"""
