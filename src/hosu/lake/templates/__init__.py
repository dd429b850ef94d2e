"""Buckets, policies and users of a kind of system, written down as data and made in a lake all at once.

A template is a folder: `template.toml` says which buckets, folders, aliases and users there are, and each `NAME.json`
beside it is the policy NAME. hosu brings `smart-door`, `medallion` and `streaming`.
"""

from hosu.lake.templates.applying import Outcome, State, Step, apply_template, plan_template
from hosu.lake.templates.loading import Template, load_template, template_names

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
