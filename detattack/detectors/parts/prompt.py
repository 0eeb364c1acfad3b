"""The prompt of a detector with an open vocabulary: phrases with dots between, each of them a class."""

from collections import Counter

from detattack.core.categories import canonical
from detattack.core.errors import InputError


def phrases_of(prompt: str) -> tuple[str, ...]:
    """Split a prompt into its phrases. Raises `InputError` where there is none, or one stands twice."""
    phrases = tuple(" ".join(phrase.split()) for phrase in prompt.split(".") if phrase.strip())
    if not phrases:
        raise InputError(f"prompt {prompt!r}: has no phrase; expected phrases with dots between, as in 'car . person'")
    twice = [name for name, count in Counter(map(canonical, phrases)).items() if count > 1]
    if twice:
        raise InputError(f"prompt {prompt!r}: {twice[0]!r} stands there twice")
    return phrases
