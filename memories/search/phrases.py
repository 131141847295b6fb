"""Remove phrases from a query that only address the assistant, such as "Could you please tell me" and "Thanks a lot!".

Agents often search for a user's message as it is. The words of such a phrase would count as much as those of the
question or, because they are rare in memories, even more.
"""

from __future__ import annotations

import re

from memories.search import analyzer

MAX_SEARCHED = 300  # the number of characters at each end of a query in which phrases are searched
MAX_PHRASES = 4  # the number of phrases that are removed at each end

_HELLO = "(?:hi|hey|hello|good (?:morning|afternoon|evening))(?: there| again)?"
_WELL = "(?:okay|ok|well|alright|great|perfect|cool|sorry|excuse me|by the way|(?:a )?quick question|one more thing)"
_THANKS = (
    "(?:thanks|many thanks|thank you|thx|cheers)"
    "(?: (?:a lot|so much|very much|again|in advance|for (?:that|this|your help|the help)))*"
)
_TELL = "(?:(?:tell|remind|show|help|give) (?:me|us)|let (?:me|us) know)(?: again| please)?"
_YOU = "(?:please )?(?:can|could|would|will) you (?:(?:please|kindly|maybe|possibly|also) )*"
_KNOW = "(?:do|would) you (?:still |happen to )?(?:know|remember|recall)"
_FORGOT = "i (?:forgot|forget|(?:can't|cannot|can not|don't|do not) (?:quite |really )?(?:remember|recall|know))"
_WONDER = "i(?: was| am|'m|'ve been| have been)? (?:just )?(?:wonder|wondering|curious|trying to (?:remember|recall))"
_WANT = "i(?: would|'d)? (?:just |really )?(?:want|need|like|love) to know"
_HELP = "i need (?:your |some )?help(?: with (?:this|something))?"

_STOP = r"(?=\s*[,.:;!?\u2013\u2014]|\s+-)"
_QUESTION = r"(?=\s+(?:if|whether|wh\w+|how|is|are|was|were|do|does|did|has|have|had|can|could|would|will|please|i)\b)"
# Some phrases are only removed before a pause or a question: "I forgot my keys" and "Hello world" remain.
_OPENINGS = (
    rf"(?:{_HELLO}|{_FORGOT}|{_WONDER})(?:{_STOP}|{_QUESTION})",
    rf"(?:{_WELL}|{_HELP})(?:{_STOP}|(?=\s+(?:{_WELL}|{_THANKS}|{_HELLO})\b))",
    rf"{_THANKS}{_STOP}",
    rf"(?:(?:{_YOU})?(?:please )?{_TELL}|{_YOU}(?:remember|recall|look up|check|find out)|{_KNOW}|{_WANT}|please)\b",
)
_CLOSINGS = (
    rf"(?<=[.?!,;:\u2013\u2014-])\s*(?:(?:{_YOU}|please )(?:{_TELL}|help|check)|{_KNOW}|{_FORGOT}|any ideas?)",
    rf"(?:(?<=[.?!,])\s*|(?<!\bsay)(?<!\bsaid)(?<!\band)(?<!\bword)\s)(?:please|{_THANKS})",
)
_OPENING = re.compile(
    f"(?:{'|'.join(_OPENINGS)})".replace(" ", r"\s") + r"(?:\s(?:if|whether|about)\b)?[\s,.:;!?\u2013\u2014-]*",
    re.IGNORECASE,
)
_CLOSING = re.compile(f"(?:{'|'.join(_CLOSINGS)})".replace(" ", r"\s") + r"[\s,.:;!?\u2013\u2014-]*$", re.IGNORECASE)


def stripped(query: str) -> str:
    """Return the query without such phrases at its beginning and its end, or unchanged if nothing else would remain."""
    rest = text = query.strip().replace("\u2019", "'")
    for _ in range(MAX_PHRASES):
        if found := _OPENING.match(rest, 0, MAX_SEARCHED):
            rest = rest[found.end() :]
    for _ in range(MAX_PHRASES):
        if found := _CLOSING.search(rest, max(len(rest) - MAX_SEARCHED, 0)):
            rest = rest[: found.start()].rstrip(" ,;:")
    return rest if rest != text and analyzer.content_terms(rest) else query
