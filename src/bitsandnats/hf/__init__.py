"""Hugging Face: loading, text, series and training. Nothing else imports transformers, and this only when called."""

from bitsandnats.hf.callback import trainer_callback as trainer_callback
from bitsandnats.hf.fetch import Supply as Supply
from bitsandnats.hf.fetch import ensure as ensure
from bitsandnats.hf.hub import offline as offline
from bitsandnats.hf.load import CausalLMLoss as CausalLMLoss
from bitsandnats.hf.load import load_model as load_model
from bitsandnats.hf.load import load_task as load_task
from bitsandnats.hf.load import load_tokenizer as load_tokenizer
from bitsandnats.hf.names import step_of as step_of
from bitsandnats.hf.series import Checkpoint as Checkpoint
from bitsandnats.hf.series import choose as choose
from bitsandnats.hf.series import find_series as find_series
from bitsandnats.hf.source import series_text as series_text
from bitsandnats.hf.suite import suite_contexts as suite_contexts
from bitsandnats.hf.suite import suite_options as suite_options
from bitsandnats.hf.suite import training_rate as training_rate
from bitsandnats.hf.text import decoded as decoded
from bitsandnats.hf.text import decoded_tokens as decoded_tokens
from bitsandnats.hf.text import read_documents as read_documents
from bitsandnats.hf.text import split_contexts as split_contexts
from bitsandnats.hf.text import text_contexts as text_contexts
from bitsandnats.hf.train import TrainOptions as TrainOptions
from bitsandnats.hf.train import train_suite as train_suite
from bitsandnats.hf.untrained import untrained_task as untrained_task
