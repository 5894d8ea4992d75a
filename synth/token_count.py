"""How many tokens a prompt has: by the model's tokenizer where it is at hand, else estimated."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from synth.chat_request import Message
from synth.errors import ChatError

CountTokens = Callable[[str], int]

TOKENS_OF_A_MESSAGE: Final = 4  # role and marks around it, as in OpenAI's cookbook on counting tokens
_BYTES_OF_A_TOKEN: Final = 4  # English has about 4 letters to a token; 3 bytes are one Chinese character


def estimate_tokens(text: str) -> int:
    """UTF-8 bytes / 4, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_OF_A_TOKEN)


def tokenizer_count(path: Path) -> CountTokens:
    """Counts with a tokenizer.json.

    Raises:
        ChatError: there is no such file, or it is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ChatError(
            f"The setting tokenizer = {path} needs the package tokenizers: pip install 'pairmill[train]', "
            "or leave the setting out to have tokens estimated."
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ChatError(
            f"{path} cannot be read as a tokenizer.json ({error}). Give the file of that name from the model's folder, "
            "or leave the setting tokenizer out to have tokens estimated."
        ) from None
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def prompt_tokens(messages: Sequence[Message], count: CountTokens) -> int:
    """Tokens of a whole conversation."""
    return sum(count(message.content) + TOKENS_OF_A_MESSAGE for message in messages)
