"""The description for a package index: the README without what only a checkout has."""

import re
from pathlib import Path

from setuptools import setup

text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
text = re.sub(r"^!\[[^]]*\]\((?!https?:).*\n(?:.+\n)*\n", "", text, flags=re.M)  # with its caption
text = re.sub(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)
setup(long_description=text, long_description_content_type="text/markdown")
