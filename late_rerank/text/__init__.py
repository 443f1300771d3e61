"""Text -> its characters and words by Unicode's rules, whether it is blank, and how it is shown."""
