"""What a character and a word are by Unicode's rules, which text is blank, and how a text is shown."""
