"""Data: batches by index from anything map-style."""

from bitsandnats.data.corpus import Corpus as Corpus
from bitsandnats.data.corpus import embedded_corpus as embedded_corpus
from bitsandnats.data.corpus import split_documents as split_documents
from bitsandnats.data.packing import pack as pack
from bitsandnats.data.source import as_data as as_data
from bitsandnats.data.source import subset as subset
