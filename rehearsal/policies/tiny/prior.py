"""The weak prior that training starts from: the foothold that an instruction-tuned model has.

Such a model uses what it knows under the right name more often than not, prefers tools to guessing, and
writes answers the way chat models do (fenced JSON) rather than the way this procedure asks for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

PRIOR: dict[str, dict[str, float]] = {
    "action": {
        "answer_covered": 2.0,
        "answer_uncovered_share": -2.0,
        "answer_at_end_of_lead": 2.0,
        "answer_past_end_of_lead": 1.0,
        "tool_repeats_success": -3.5,
        "tool_repeats_error": -1.5,
        "tool_call_count": -2.0,
        "tool_arguments_known": 1.5,
        "tool_arguments_missing": -1.0,
        "tool_next_in_order": 1.5,
        "tool_named_in_last_result": 3.0,
        "tool_named_in_last_error": 2.0,
        "ask_named_in_last": 3.5,
        "ask_told_since_last": -2.0,
    },
    "form": {"call_natively": 3.0},
    "argument": {"same_name": 6.0, "name_overlap": 2.0, "fits_type": 1.0, "told_in_reply": 1.0},
    "wrapping": {"final_output_tag": 2.0, "code_fence": 2.5},
    "field": {"tool_same_name": 6.0, "tool_overlap": 1.0, "fact_is_allowed": 1.0, "none_like": 2.0},
}


def prior_weights(sections: Mapping[str, Sequence[str]]) -> NDArray[np.float64]:
    """The prior as a flat vector, in the order of `sections`."""
    return np.array(
        [PRIOR[name].get(feature, 0.0) for name, features in sections.items() for feature in features]
    )
