"""The YAML parser in C in place of the one in Python: a card names 700 classes, and the suite reads hundreds of cards.

Programs of tests in interpreters of their own keep the parser in Python, as users have it.
"""

import yaml

yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
