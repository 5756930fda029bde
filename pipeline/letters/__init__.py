"""Dead letters as the engine keeps them: whole, within limits, ready to be processed again."""
