"""Buckets, policies, users and rules of a kind of system, written down as data and made in a lake all at once.

A template is a folder: `template.toml` says which buckets, folders, aliases, users and rules there are, and each
`NAME.json` beside it is the policy NAME. hosu brings `smart-door`, `medallion` and `streaming`.
"""

from hosu.lake.templates.applying import apply_template, plan_template
from hosu.lake.templates.loading import Template, load_template, template_names
from hosu.lake.templates.steps import Outcome, State, Step

__all__ = [
    "Outcome",
    "State",
    "Step",
    "Template",
    "apply_template",
    "load_template",
    "plan_template",
    "template_names",
]
