"""One small file a format. A reader turns one row into an Example (or several: a conversation tree has many prompts).

    @register("reader", "llmbar", source="...", columns=("input output_1 output_2 label",))
    def llmbar(row: Row) -> Example: ...

`columns` declares what a row of that format looks like, as forms of words: every word names a column that must be
there; `a|b` means either, `a=messages` that its value must look so (see `_row.SHAPES`). The form with the most
words wins, so the most specific format is found first. No form means: only on request.
"""
