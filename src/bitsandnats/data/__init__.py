"""Data: batches by index from anything map-style."""

from bitsandnats.data.corpus import Corpus as Corpus
from bitsandnats.data.corpus import embedded_corpus as embedded_corpus
from bitsandnats.data.corpus import split_documents as split_documents
from bitsandnats.data.documents import file_documents as file_documents
from bitsandnats.data.documents import no_field as no_field
from bitsandnats.data.packing import pack as pack
from bitsandnats.data.source import StackedData as StackedData
from bitsandnats.data.source import as_data as as_data
from bitsandnats.data.source import subset as subset
from bitsandnats.data.tokens import TokenFile as TokenFile
from bitsandnats.data.tokens import cache_folder as cache_folder
from bitsandnats.data.tokens import write_tokens as write_tokens
