"""The customer of one episode: answers what is asked rightly, holds things back, and changes their mind.

A rightly put question names one fact, and is a question or says please. All the customer says follows from
the script and from what was said before, so that the same conversation goes the same way again.
"""

import re

from adapters.environments.service_desk.world import Script

PATIENCE = 2
"""The customer leaves at this many messages that ask for nothing, or for several things."""
_TOPICS = {
    "postcode": re.compile(r"post[ _-]?code|postal code|zip code", re.IGNORECASE),
    "order_id": re.compile(r"order[ _-]?(id|number)\b", re.IGNORECASE),
    "refund_method": re.compile(r"refund[ _-]?method|method of (the )?refund", re.IGNORECASE),
}
_QUESTION = re.compile(r"\?|\bplease\b", re.IGNORECASE)
_ANSWER_TAG = "<final_output>"


class Customer:
    """Plays a script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._unclear = 0
        self._asked: dict[str, int] = dict.fromkeys(_TOPICS, 0)

    def reply(self, text: str) -> str | None:
        """What the customer says to a message; None if the conversation is over."""
        if _ANSWER_TAG in text:
            return None
        topics = [topic for topic, pattern in _TOPICS.items() if pattern.search(text)]
        if len(topics) != 1 or not _QUESTION.search(text):
            return self._not_understood(several=len(topics) > 1)
        self._asked[topics[0]] += 1
        return self._answer(topics[0], again=self._asked[topics[0]] > 1)

    def _not_understood(self, *, several: bool) -> str | None:
        self._unclear += 1
        if self._unclear >= PATIENCE:
            return None
        return "One thing at a time, please." if several else "I do not follow. What do you need to know?"

    def _answer(self, topic: str, *, again: bool) -> str:
        if topic == "postcode":
            return self._say_postcode(again=again)
        if topic == "order_id":
            return self._say_order(again=again)
        changed = self._script.final_method != self._script.first_method
        opening = "I have changed my mind about that." if changed else "It is as I said."
        return f"{opening}\nrefund_method: {self._script.final_method}"

    def _say_postcode(self, *, again: bool) -> str:
        if self._script.reluctant and not again:
            return "I would rather not say. Do you really need that?"
        return f"If it helps.\npostcode: {self._script.postcode}"

    def _say_order(self, *, again: bool) -> str:
        script = self._script
        if script.recall == "forgets":
            return f"I do not have the number any more.\nitem: {script.item}"
        if script.recall == "mistakes" and not again:
            return f"It must be this one.\norder_id: {script.wrong_order_id}"
        opening = "Sorry, that was the wrong receipt." if script.recall == "mistakes" else "Here it is."
        return f"{opening}\norder_id: {script.order_id}"
