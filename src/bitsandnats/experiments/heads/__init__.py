"""Networks of attention heads trained on text of known structures: what two studies share."""
