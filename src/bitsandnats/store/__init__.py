"""The run folder: layout, atomic units, content keys, completion."""

from bitsandnats.store.alone import alone as alone
from bitsandnats.store.files import read_json as read_json
from bitsandnats.store.files import write_json as write_json
from bitsandnats.store.files import write_text as write_text
from bitsandnats.store.keys import ContentKey as ContentKey
from bitsandnats.store.keys import content_key as content_key
from bitsandnats.store.keys import data_digest as data_digest
from bitsandnats.store.locks import locked as locked
from bitsandnats.store.run import Run as Run
from bitsandnats.store.run import check_run as check_run
from bitsandnats.store.run import create_run as create_run
from bitsandnats.store.run import open_run as open_run
