"""Skeletons: a sampler, a compressor and an observable as another package would add them to bitsandnats."""
